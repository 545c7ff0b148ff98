"""A worker that takes two seconds after each rebalance to find out where to go on.

``python -m tests.support.slow_joiner`` is the stand-in's worker, but that its client is asked once
in half a minute, not once a second: it is under way in every rebalance, and brings what faust then
throws away.
"""

if __name__ == "__main__":
    import asyncio
    from typing import Any

    from tests.support.stand_in import open_stand_in

    from residua.worker import faust_transport
    from residua.worker.main import run_worker
    from residua.worker.settings import WorkerSettings

    thread_of_client: Any = faust_transport._Thread
    seek, ask = thread_of_client.seek_to_committed, thread_of_client.getmany

    async def seek_later(thread: Any) -> Any:
        await asyncio.sleep(2.0)
        return await seek(thread)

    async def ask_for_long(thread: Any, partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109
        return await ask(thread, partitions, 30.0 * timeout)

    thread_of_client.seek_to_committed = seek_later
    thread_of_client.getmany = ask_for_long
    run_worker(WorkerSettings(), open_stand_in)
