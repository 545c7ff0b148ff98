"""The faults of a campaign: each a call that harms and heals, or a record that does harm."""

import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy.exc import DBAPIError
from tests.delivery.lettings import Lettings
from tests.delivery.meanings import INPUT, Meanings
from tests.delivery.supervisor import CATALOG, SESSION, WORKERS, Supervisor, end
from tests.support.kafka_tools import Delivery, arrival, arrival_record
from tests.support.servers.apache_kafka import ApacheKafka
from tests.support.servers.s3 import S3Server

from residua.messaging.client import OutgoingRecord, event_record
from residua_schemas import NEXT_VISITS, VISIT_ARRIVALS, NextVisit, VisitArrival

# Faults that travel with an arrival: how the stand-in misbehaves.
WISHES = {
    "subtraction hangs once": "hang&once",
    "subtraction hangs always": "hang",
    "subtraction's process dies once": "crash&once",
    "store does not answer once": "transient&once",
    "unexpected exception": "raise",
    "corrupt file": "fail",
    "no template": "template",
    "subtraction's process dies after it stored": "crash-after-store",
    "worker killed after it told a failure": "crash&kill-after-publish",
    "input gone after its image was stored": "kill-after-store&gone",
    "store slower than a subtraction may be": "store-waits=4",
}
POISON = {
    "malformed JSON": b'{"visit_detector": ',
    "random bytes": bytes(range(128, 255)),
    "unknown version": b'{"schema_version": "9.0"}',
    "tombstone": None,
    "wrong fields": b'{"visit_detector": {"instrument": "x"}}',
}


class Campaign:
    """One campaign: its faults by name, each a call that harms and heals."""

    def __init__(
        self,
        delivery: Delivery,
        supervisor: Supervisor,
        seed: int,
        kafka: ApacheKafka | None,
        s3: S3Server | None,
        inputs: Path,
        bucket: str = "",
    ) -> None:
        self.delivery, self.supervisor = delivery, supervisor
        self.random = random.Random(seed)
        self.kafka, self.s3 = kafka, s3
        self.counts: Counter[str] = Counter()
        self.sent: list[VisitArrival] = []
        self.poison = 0
        self.bucket = bucket
        self._spares = 0
        self._visits = itertools.count(10_000)
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
            "bad announcement": (self.announce_badly, 2),
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
        if delivery.engine.dialect.name == "postgresql":
            self.faults["database ends its connections"] = (self.end_connections, 3)
        self.stream = [*WISHES, *POISON]
        self.meanings = Meanings(self, inputs)
        self.lettings = Lettings(self, inputs.parent, (inputs / INPUT).as_uri())
        self.faults |= self.meanings.faults | self.lettings.faults

    def run(self, arrivals: int, faults: int, only: Sequence[str] | None = None) -> None:
        """Send arrivals and inject faults between them, in a random order.

        Parameters
        ----------
        only
            Kinds to use, in this order and again; by default all, at random.
        """
        names = [*self.faults, *self.stream]
        weights = [*(w for _, w in self.faults.values()), *(3 for _ in self.stream)]
        first = min(arrivals, 4)
        self.send(first, "")
        # Let the services come up: a fault in the middle of work says more.
        self.delivery.wait(lambda a: len(a.rows) >= len(self.sent), seconds=600.0)
        # Every kind once, then by weight.
        plan = self.random.sample(names, min(faults, len(names)))
        plan += self.random.choices(names, weights, k=faults - len(plan))
        self.random.shuffle(plan)
        if only:
            plan = list(itertools.islice(itertools.cycle(only), faults))
        for n, name in enumerate(plan):
            # At least one each while there are as many arrivals as faults: it carries the wish.
            share = first + (arrivals - first) * (n + 1) // len(plan) - len(self.sent)
            self.send(max(share, int(name in WISHES)), name)
            if name in self.faults:
                time.sleep(self.random.uniform(0.0, 1.0))
                try:
                    self.faults[name][0]()
                except TimeoutError as e:
                    e.add_note(f"fault {n + 1}, {name}: {self.waiting()}")
                    raise
                time.sleep(self.random.uniform(0.0, 3.0))
            self.counts[name] += 1
            print(f"{n + 1:4d}/{len(plan)}  {len(self.sent):4d} sent  {name}", flush=True)

    def send(self, number: int, name: str) -> None:
        """Send arrivals; with a fault of the stream, the last of them carries it."""
        # Announced first, as an observatory does.
        visit = NextVisit(instrument="Sim", band="r", pointing=(10.0, 10.0), field=(1.0, 1.0))
        announced = self.delivery.settings.topic_name(NEXT_VISITS)
        records = [event_record(announced, visit, visit.key, source="/campaign")]
        for n in range(number):
            wish = f"sleep={self.random.uniform(0.0, 0.3):.2f}"
            if name in WISHES and n == number - 1:
                wish += f"&{WISHES[name]}"
            event = arrival(self.next_visit(), wish)
            self.sent.append(event)
            records.append(arrival_record(self.delivery.settings, event))
        if name in POISON:
            topic = self.delivery.settings.topic_name(VISIT_ARRIVALS)
            records.append(OutgoingRecord(topic, os.urandom(4), POISON[name]))
            self.poison += 1
        self.delivery.send(records)

    def waiting(self) -> str:
        """Say which visits have no outcome, and how many arrivals the workers have not done."""
        answered = self.delivery.account().visits
        visits = sorted({e.visit_detector.visit for e in self.sent} - set(answered))
        running = {n: self.supervisor.get(n).exit_code for n in self.supervisor.names()}
        return (
            f"visits without an outcome: {visits}; lag of the workers {self.delivery.worker_lag()}"
            f"; exit codes {running}"
        )

    def next_visit(self) -> int:
        """Return the number of a visit that nothing was sent of."""
        return next(self._visits)

    def kill_worker(self) -> None:
        self.supervisor.get(self.random.choice(WORKERS)).kill()

    def end_worker(self) -> None:
        end(self.supervisor.get(self.random.choice(WORKERS)))

    def kill_child(self) -> None:
        name, deadline = self.random.choice(WORKERS), time.monotonic() + 30.0
        # One that was just started has no child yet.
        while not self._kill_child_of(name) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _kill_child_of(self, name: str) -> bool:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.supervisor.get(name).pid).children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
                    return True
        return False

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
        on_postgresql = self.delivery.engine.dialect.name == "postgresql"
        lock = "LOCK TABLE obscore IN EXCLUSIVE MODE" if on_postgresql else "BEGIN IMMEDIATE"
        with suppress(DBAPIError), self.delivery.engine.connect() as connection:
            connection.exec_driver_sql(lock)
            time.sleep(self.random.uniform(0.5, 3.0))
            connection.rollback()

    def end_connections(self) -> None:
        """PostgreSQL ends all connections to the catalog, as at a switch to its standby."""
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with self.delivery.engine.connect() as connection:
            connection.exec_driver_sql(query)

    def send_twice(self) -> None:
        if self.sent:
            # A remake is sent by the replay only: its record has the place of the first.
            plain = [event for event in self.sent if event.remake == 0]
            self.delivery.send(self.random.sample(plain, min(3, len(plain))))

    def announce_badly(self) -> None:
        topic = self.delivery.settings.topic_name(NEXT_VISITS)
        values = self.random.sample(list(POISON.values()), 2)
        self.delivery.send(OutgoingRecord(topic, os.urandom(4), value) for value in values)

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
