"""The fault campaign: harm everything that can be harmed, then count.

    python -m tests.delivery.campaign --arrivals 300 --faults 100 --seed 1 --json campaign.json

runs two workers and a catalog consumer as processes on Apache Kafka and a real S3 store (or, with
``--embedded``, on the embedded broker and local files), sends arrivals, and injects faults between
them. A supervisor starts again what died. In the end every arrival must have exactly one outcome,
every created outcome one file and one row. Exit code 1 when the account does not balance.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from residua.kafka import OutgoingRecord
from residua.settings import KafkaSettings
from residua.testing.account import Account
from residua.testing.apache_kafka import ApacheKafka, running_kafka
from residua.testing.embedded_broker import EmbeddedBroker
from residua.testing.kafka_tools import Delivery, arrival, arrival_record
from residua.testing.s3 import S3Server, running_s3
from residua.testing.service_process import ServiceProcess
from residua_schemas import VISIT_ARRIVALS, VisitArrival

WORKERS = ("worker-a", "worker-b")
CATALOG = "catalog"
SESSION = 6.0

# Faults that travel with an arrival: how the stand-in misbehaves.
WISHES = {
    "subtraction hangs once": "hang&once",
    "subtraction hangs always": "hang",
    "subtraction's process dies once": "crash&once",
    "store does not answer once": "transient&once",
    "unexpected exception": "raise",
    "corrupt file": "fail",
    "no template": "template",
}
POISON = {
    "malformed JSON": b'{"visit_detector": ',
    "random bytes": bytes(range(128, 255)),
    "unknown version": b'{"schema_version": "9.0"}',
    "tombstone": None,
    "wrong fields": b'{"visit_detector": {"instrument": "x"}}',
}


@dataclass(frozen=True)
class Tally:
    """What a campaign came to; `balances` are the sums that must hold."""

    arrivals: int
    outcomes: int
    created: int
    skipped: int
    failed: int
    dead_letters: int
    files: int
    rows: int
    duplicates: int
    repeats: int
    orphans: int
    faults: int
    fault_kinds: dict[str, int]
    poison: int
    lost: int
    seconds: float

    @property
    def balances(self) -> bool:
        """Whether nothing is lost, doubled or left over."""
        return (
            self.arrivals == self.outcomes == self.created + self.skipped + self.failed
            and self.created == self.files == self.rows
            and self.dead_letters == self.poison
            and self.duplicates == self.orphans == self.lost == 0
        )


class Supervisor:
    """Keeps the services running, as Kubernetes would."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._wanted: dict[str, ServiceProcess] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self, name: str) -> None:
        with self._lock:
            self._wanted[name] = self._launch(name)

    def retire(self, name: str) -> None:
        """End a service in order and leave it ended."""
        with self._lock:
            process = self._wanted.pop(name)
        end(process)

    def get(self, name: str) -> ServiceProcess:
        with self._lock:
            return self._wanted[name]

    def names(self) -> list[str]:
        with self._lock:
            return list(self._wanted)

    def __enter__(self) -> Self:
        for name in (*WORKERS, CATALOG):
            self.start(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            for process in self._wanted.values():
                process.kill()

    def _launch(self, name: str) -> ServiceProcess:
        if name == CATALOG:
            return self._delivery.start_catalog(name, catalog_session_timeout=SESSION)
        return self._delivery.start_worker(
            name,
            session_timeout=SESSION,
            subtraction_timeout=3,
            transient_attempts=3,
            transient_pause=0.2,
        )

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            with self._lock:
                for name, process in self._wanted.items():
                    if process.exit_code is not None:
                        self._wanted[name] = self._launch(name)


class Campaign:
    """One campaign: its faults by name, each a call that harms and heals."""

    def __init__(
        self,
        delivery: Delivery,
        supervisor: Supervisor,
        seed: int,
        kafka: ApacheKafka | None,
        s3: S3Server | None,
    ) -> None:
        self.delivery, self.supervisor = delivery, supervisor
        self.random = random.Random(seed)
        self.kafka, self.s3 = kafka, s3
        self.counts: Counter[str] = Counter()
        self.sent: list[VisitArrival] = []
        self.poison = 0
        self._spares = 0
        # Weights: faults that take the system down for seconds come less often.
        self.faults = {
            "worker killed": (self.kill_worker, 3),
            "worker ended in order": (self.end_worker, 2),
            "subtraction's process killed": (self.kill_child, 5),
            "worker frozen beyond its session": (self.freeze_worker, 1),
            "catalog killed": (self.kill_catalog, 3),
            "catalog ended in order": (self.end_catalog, 2),
            "database locked": (self.lock_database, 3),
            "arrival sent twice": (self.send_twice, 6),
            "worker added and removed": (self.scale, 1),
        }
        if kafka is not None:
            self.faults |= {
                "broker killed": (lambda: self.stop_broker(kill=True), 2),
                "broker ended in order": (lambda: self.stop_broker(kill=False), 1),
            }
        if s3 is not None:
            self.faults |= {
                "store killed": (self.kill_store, 2),
                "store frozen": (self.freeze_store, 2),
            }
        self.stream = [*WISHES, *POISON]

    def run(self, arrivals: int, faults: int) -> None:
        """Send arrivals and inject faults between them, in a random order."""
        names = [*self.faults, *self.stream]
        weights = [*(w for _, w in self.faults.values()), *(3 for _ in self.stream)]
        self.send(min(arrivals, 4), "")
        # Let the services come up: a fault in the middle of work says more.
        self.delivery.wait(lambda a: len(a.rows) >= len(self.sent), seconds=120.0)
        # Every kind once, then by weight.
        plan = self.random.sample(names, min(faults, len(names)))
        plan += self.random.choices(names, weights, k=faults - len(plan))
        self.random.shuffle(plan)
        for n, name in enumerate(plan):
            share = arrivals * (n + 1) // len(plan) - len(self.sent)
            self.send(max(share, 0), name)
            if name in self.faults:
                time.sleep(self.random.uniform(0.0, 1.0))
                self.faults[name][0]()
                time.sleep(self.random.uniform(0.0, 3.0))
            self.counts[name] += 1
            print(f"{n + 1:4d}/{len(plan)}  {len(self.sent):4d} sent  {name}", flush=True)

    def send(self, number: int, name: str) -> None:
        """Send arrivals; with a fault of the stream, the last of them carries it."""
        records = []
        for n in range(number):
            wish = f"sleep={self.random.uniform(0.0, 0.3):.2f}"
            if name in WISHES and n == number - 1:
                wish += f"&{WISHES[name]}"
            event = arrival(10_000 + len(self.sent), wish)
            self.sent.append(event)
            records.append(arrival_record(self.delivery.settings, event))
        if name in POISON:
            topic = self.delivery.settings.topic_name(VISIT_ARRIVALS)
            records.append(OutgoingRecord(topic, os.urandom(4), POISON[name]))
            self.poison += 1
        self.delivery.send(records)

    def kill_worker(self) -> None:
        self.supervisor.get(self.random.choice(WORKERS)).kill()

    def end_worker(self) -> None:
        end(self.supervisor.get(self.random.choice(WORKERS)))

    def kill_child(self) -> None:
        worker = psutil.Process(self.supervisor.get(self.random.choice(WORKERS)).pid)
        with suppress(psutil.NoSuchProcess):
            for child in worker.children():
                with suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()

    def freeze_worker(self) -> None:
        worker = self.supervisor.get(self.random.choice(WORKERS))
        worker.send_signal(signal.SIGSTOP)
        time.sleep(SESSION + 3.0)
        worker.send_signal(signal.SIGCONT)

    def kill_catalog(self) -> None:
        self.supervisor.get(CATALOG).kill()

    def end_catalog(self) -> None:
        end(self.supervisor.get(CATALOG))

    def lock_database(self) -> None:
        connection = sqlite3.connect(self.delivery.catalog, timeout=30.0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(self.random.uniform(0.5, 3.0))
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            pass
        finally:
            connection.close()

    def send_twice(self) -> None:
        if self.sent:
            self.delivery.send(self.random.sample(self.sent, min(3, len(self.sent))))

    def scale(self) -> None:
        self._spares += 1
        name = f"spare-{self._spares}"
        self.supervisor.start(name)
        time.sleep(12.0)
        self.supervisor.retire(name)

    def stop_broker(self, *, kill: bool) -> None:
        assert self.kafka is not None
        if kill:
            self.kafka.kill(0)
        else:
            self.kafka.stop(0)
        time.sleep(self.random.uniform(0.0, 5.0))
        self.kafka.start(0)

    def kill_store(self) -> None:
        assert self.s3 is not None
        self.s3.kill()
        time.sleep(self.random.uniform(0.0, 3.0))
        self.s3.start()

    def freeze_store(self) -> None:
        assert self.s3 is not None
        self.s3.pause()
        time.sleep(self.random.uniform(1.0, 5.0))
        self.s3.resume()


def end(process: ServiceProcess) -> None:
    """SIGTERM as Kubernetes sends it: SIGKILL when the grace period is over."""
    try:
        process.stop(30.0)
    except Exception:  # noqa: BLE001 whatever happened, it must end
        process.kill()


def tally(campaign: Campaign, account: Account, seconds: float) -> Tally:
    """Count."""
    expected = {e.visit_detector.visit for e in campaign.sent}
    found = account.visits
    created = {o.uri for o in account.outcomes if o.outcome == "created"}
    rows = set(account.rows.values())
    kinds = account.kinds
    return Tally(
        arrivals=len(campaign.sent),
        outcomes=len(account.outcomes),
        created=kinds["created"],
        skipped=kinds["skipped"],
        failed=kinds["failed"],
        dead_letters=len(account.dead_letters),
        files=len(account.files),
        rows=len(account.rows),
        duplicates=account.conflicts + sum(n - 1 for n in found.values()),
        repeats=account.repeats,
        orphans=len((set(account.files) | rows) - created) + len(created - account.files),
        faults=sum(campaign.counts.values()),
        fault_kinds=dict(sorted(campaign.counts.items())),
        poison=campaign.poison,
        lost=len(expected - set(found)),
        seconds=round(seconds, 1),
    )


def run_campaign(
    arrivals: int, faults: int, seed: int, *, embedded: bool, directory: Path, patience: float
) -> Tally:
    """Run one campaign and count."""
    began = time.monotonic()
    with ExitStack() as stack:
        kafka = s3 = None
        prefix = f"campaign-{os.getpid()}-{seed}-"
        if embedded:
            bootstrap = stack.enter_context(EmbeddedBroker(prefix)).bootstrap
        else:
            kafka = stack.enter_context(running_kafka())
            s3 = stack.enter_context(running_s3("difference-images"))
            bootstrap = kafka.bootstrap
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
        delivery = stack.enter_context(Delivery(settings, directory, s3=s3))
        supervisor = stack.enter_context(Supervisor(delivery))
        campaign = Campaign(delivery, supervisor, seed, kafka, s3)
        campaign.run(arrivals, faults)

        def settled(account: Account) -> bool:
            return tally(campaign, account, 0.0).balances

        try:
            account = delivery.wait(settled, seconds=patience)
        except TimeoutError:
            account = delivery.account()
        return tally(campaign, account, time.monotonic() - began)


def main() -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrivals", type=int, default=300)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--embedded", action="store_true", help="no Apache Kafka, no S3")
    parser.add_argument("--keep", type=Path, help="directory for logs and catalog")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to settle in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        result = run_campaign(
            options.arrivals,
            options.faults,
            options.seed,
            embedded=options.embedded,
            directory=directory,
            patience=options.patience,
        )
    table = asdict(result)
    for name, value in table.items():
        if name != "fault_kinds":
            print(f"{name:>14}  {value}")
    for name, value in result.fault_kinds.items():
        print(f"{value:>14}  {name}")
    print("balances" if result.balances else "DOES NOT BALANCE")
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 0 if result.balances else 1


if __name__ == "__main__":
    sys.exit(main())
