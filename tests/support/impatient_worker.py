"""A worker with a fault: Kafka's client leaves the group when it is not asked for five seconds.

``python -m tests.support.impatient_worker`` is the stand-in's worker without the one setting
that keeps real workers in their group, so that tests see what the watchdog is there for.
"""

if __name__ == "__main__":
    from tests.support.stand_in import open_stand_in

    from residua.worker import app
    from residua.worker.main import run_worker
    from residua.worker.settings import WorkerSettings

    app._YEAR = 5.0
    run_worker(WorkerSettings(), open_stand_in)
