"""A backlog of arrivals and 1, 2, 4 workers with the stand-in: arrivals a second, CPU an arrival.

    python -m tests.benchmarks.backlog --arrivals 2000 --workers 1 2 4

Nothing is subtracted: what is measured is the machinery around a subtraction. CPU of the worker's
main process and of its child, each without their starts; the broker's is not in it.
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.apache_kafka import running_kafka

from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker

WARM_UP = 32


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process."""
    times = process.cpu_times()
    return times.user + times.system


def measure(bootstrap: str, workers: int, arrivals: int) -> None:
    """Run once and print a line."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"backlog-{os.getpid()}-{workers}-"
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
        with Delivery(settings, Path(folder), partitions=16, fresh=True) as delivery:
            started = [delivery.start_worker(f"w{n}") for n in range(workers)]
            delivery.send(arrival(n) for n in range(WARM_UP))
            delivery.wait(lambda a: len(a.outcomes) == WARM_UP, alive=started)
            mains = [psutil.Process(p.pid) for p in started]
            children = [c for main in mains for c in main.children()]
            before = [sum(map(cpu, mains)), sum(map(cpu, children))]
            begin = time.monotonic()
            delivery.send(arrival(WARM_UP + n) for n in range(arrivals))
            while delivery.worker_lag() > 0:
                time.sleep(0.5)
            seconds = time.monotonic() - begin
            main, child = (
                1000.0 * (sum(map(cpu, group)) - first) / arrivals
                for group, first in zip((mains, children), before, strict=True)
            )
    print(
        f"{workers} workers: {arrivals / seconds:6.1f} arrivals/s; CPU an arrival "
        f"{main:5.1f} ms (main) + {child:5.1f} ms (child)",
        flush=True,
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrivals", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--embedded", action="store_true", help="no Apache Kafka")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.embedded:
            bootstrap = stack.enter_context(EmbeddedBroker("backlog-")).bootstrap
        else:
            bootstrap = stack.enter_context(running_kafka()).bootstrap
        for workers in options.workers:
            measure(bootstrap, workers, options.arrivals)


if __name__ == "__main__":
    main()
