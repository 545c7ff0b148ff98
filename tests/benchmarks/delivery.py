"""Overhead of the machinery: from an event sent to its row visible, the subtraction a 0 s stand-in.

    python -m tests.benchmarks.delivery --events 400 --rate 20 --json delivery.json

starts Apache Kafka (or, with ``--embedded``, the embedded broker), a worker and a catalog consumer,
sends arrivals at a steady rate and prints percentiles of the latency in milliseconds.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.kafka_tools import Delivery, arrival, arrival_record
from tests.support.servers.apache_kafka import running_kafka

from residua.messaging.client import producer
from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker

WARM_UP = 20


class RowWatcher(threading.Thread):
    """Notes when each visit's row becomes visible to a reader of the catalog."""

    def __init__(self, catalog: Path) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, float] = {}
        self._catalog = catalog
        self.stopped = threading.Event()

    def run(self) -> None:
        connection = sqlite3.connect(self._catalog, timeout=10.0)
        last = 0
        while not self.stopped.wait(0.002):
            query = "SELECT row_id, lsst_visit FROM obscore WHERE row_id > ? ORDER BY row_id"
            for row_id, visit in connection.execute(query, (last,)):
                last = row_id
                self.seen[visit] = time.monotonic()
        connection.close()


async def send_steadily(settings: KafkaSettings, events: int, rate: float) -> dict[int, float]:
    """Send arrivals at ``rate`` per second; when each was handed to the producer."""
    sent: dict[int, float] = {}
    async with producer(settings) as client:
        began = time.monotonic()
        for n in range(events):
            await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
            r = arrival_record(settings, arrival(n))
            sent[n] = time.monotonic()
            await client.send(r.topic, key=r.key, value=r.value, headers=list(r.headers))
        await client.flush()
    return sent


def measure(events: int, rate: float, *, embedded: bool, workers: int) -> dict[str, float]:
    """Run once; latencies in milliseconds."""
    with ExitStack() as stack:
        prefix = f"bench-{os.getpid()}-"
        bootstrap = (
            stack.enter_context(EmbeddedBroker(prefix)).bootstrap
            if embedded
            else stack.enter_context(running_kafka()).bootstrap
        )
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        delivery = stack.enter_context(Delivery(settings, directory, fresh=True))
        processes = [delivery.start_worker(f"worker-{n}") for n in range(workers)]
        processes.append(delivery.start_catalog())
        delivery.send(arrival(10_000 + n) for n in range(WARM_UP))
        delivery.wait(lambda a: len(a.rows) == WARM_UP, seconds=180, alive=processes)
        watcher = RowWatcher(delivery.catalog)
        watcher.start()
        sent = asyncio.run(send_steadily(settings, events, rate))
        deadline = time.monotonic() + 60.0
        while not sent.keys() <= watcher.seen.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
        watcher.stopped.set()
        watcher.join()
    latencies = sorted(1000.0 * (watcher.seen[n] - t) for n, t in sent.items())
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "events": events,
        "rate_per_s": rate,
        "workers": workers,
        "median_ms": round(statistics.median(latencies), 1),
        "p90_ms": round(cuts[89], 1),
        "p99_ms": round(cuts[98], 1),
        "max_ms": round(latencies[-1], 1),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--rate", type=float, default=20.0, help="events a second")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--embedded", action="store_true", help="no Apache Kafka")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(
        options.events, options.rate, embedded=options.embedded, workers=options.workers
    )
    for name, value in found.items():
        print(f"{name:>12}  {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
