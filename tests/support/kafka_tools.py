"""Run the real services as processes against a broker, harm them, and count what came of it."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import NullPool, create_engine, select
from sqlalchemy.exc import DBAPIError
from tests.support.account import (
    Account,
    group_lag,
    read_account,
    topic_ends,
    visits_since,
)
from tests.support.servers.s3 import S3Server
from tests.support.service_process import ServiceProcess

from residua.messaging.client import OutgoingRecord, event_record, send
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import KafkaSettings
from residua.obscore import obscore
from residua_schemas import DIFFERENCE_IMAGES, VISIT_ARRIVALS, VisitArrival, VisitDetector

__all__ = ["Delivery", "arrival", "arrival_record"]

SOURCE = "/residua/testing"

_BUCKET = "difference-images"


def arrival(visit: int, wish: str = "", detector: int = 0, revision: int = 0) -> VisitArrival:
    """Make an arrival for the stand-in; ``wish`` says how it misbehaves (`stand_in`)."""
    return VisitArrival(
        visit_detector=VisitDetector(instrument="Sim", visit=visit, detector=detector),
        band="r",
        image_uri=f"file:///nowhere/{visit}.fits?{wish}",
        revision=revision,
    )


def arrival_record(settings: KafkaSettings, event: VisitArrival) -> OutgoingRecord:
    """Record of an arrival."""
    topic = settings.topic_name(VISIT_ARRIVALS)
    return event_record(topic, event, event.visit_detector.key, source=SOURCE)


class Delivery:
    """Context manager: services on a broker, with a directory for files, catalog and logs.

    Parameters
    ----------
    settings
        How to reach Kafka; its prefix sets topics and groups apart.
    directory
        Empty directory.
    partitions, replication
        Of the topics that are made.
    s3
        Store with the bucket ``difference-images``; by default files go to ``output``.
    catalog_url
        The catalog's database; by default SQLite, the file `catalog`.
    fresh
        Whether services are interpreters that do their imports themselves, as in operation.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        directory: Path,
        *,
        partitions: int = 4,
        replication: int = 1,
        s3: S3Server | None = None,
        catalog_url: str | None = None,
        fresh: bool = False,
    ) -> None:
        self._fresh = fresh
        self.settings = settings
        self.output = directory / "output"
        self._s3 = s3
        self._replication = replication
        self.catalog = directory / "catalog.sqlite"
        self.catalog_url = catalog_url or f"sqlite:///{self.catalog}"
        # Whoever looks leaves no connection behind, nor a file where none is yet.
        self.engine = create_engine(self.catalog_url, poolclass=NullPool)
        self._logs = directory
        self._partitions = partitions
        self._processes: list[ServiceProcess] = []

    def __enter__(self) -> Self:
        self.output.mkdir(parents=True, exist_ok=True)
        asyncio.run(
            create_topics(self.settings, partitions=self._partitions, replication=self._replication)
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()

    def start_worker(
        self,
        name: str = "worker",
        *,
        module: str = "tests.support.stand_in",
        **settings: object,
    ) -> ServiceProcess:
        """Start a worker, with the stand-in unless ``module`` is ``residua.worker``.

        ``settings`` are fields of `WorkerSettings`.
        """
        defaults: dict[str, object] = {
            "instance_id": f"{self.settings.topic_prefix}{name}",
            "session_timeout": 6,
        }
        # The stand-in compiles nothing: its first call is as quick as the others.
        if module != "residua.worker":
            defaults["first_subtraction_timeout"] = settings.get("subtraction_timeout", 120)
        return self._start(name, module, {**defaults, **settings})

    def start_catalog(self, name: str = "catalog", **settings: object) -> ServiceProcess:
        """Start a catalog consumer; ``settings`` are fields of `CatalogSettings`."""
        defaults = {
            "catalog_instance_id": f"{self.settings.topic_prefix}{name}",
            "catalog_session_timeout": 6,
        }
        return self._start(name, "residua.catalog", {**defaults, **settings})

    def send(self, events: Iterable[VisitArrival | OutgoingRecord]) -> int:
        """Send arrivals, or records as they are, to the topic of arrivals."""
        records = [
            e if isinstance(e, OutgoingRecord) else arrival_record(self.settings, e) for e in events
        ]
        return asyncio.run(send(self.settings, records))

    def account(self) -> Account:
        """Read topics, catalog and files as they are now."""
        return asyncio.run(self._account())

    def catalog_lag(self) -> int:
        """Outcomes the catalog consumer has not committed yet."""
        topic = self.settings.topic_name(DIFFERENCE_IMAGES)
        return asyncio.run(group_lag(self.settings, self._catalog_group, topic))

    def worker_lag(self) -> int:
        """Arrivals the workers have not committed yet."""
        topic = self.settings.topic_name(VISIT_ARRIVALS)
        return asyncio.run(group_lag(self.settings, self._worker_group, topic))

    def answer_to(self, events: Iterable[VisitArrival], visit: int, *, seconds: float) -> None:
        """Send arrivals, and wait for an outcome of one visit; reads what is new alone.

        Raises
        ------
        TimeoutError
            There is none.
        """
        topic = self.settings.topic_name(DIFFERENCE_IMAGES)
        ends = asyncio.run(topic_ends(self.settings, topic))
        deadline = time.monotonic() + seconds
        self.send(events)
        while not asyncio.run(visits_since(self.settings, ends))[visit]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no outcome of visit {visit} within {seconds:g} s")
            time.sleep(0.5)

    def wait(
        self,
        condition: Callable[[Account], bool],
        *,
        seconds: float = 300.0,
        alive: Iterable[ServiceProcess] = (),
    ) -> Account:
        """Wait until ``condition`` holds.

        Raises
        ------
        TimeoutError
            It did not; the message holds the account.
        RuntimeError
            A process of ``alive`` ended meanwhile.
        """
        deadline = time.monotonic() + seconds
        while True:
            begun = time.monotonic()
            account = self.account()
            looked = time.monotonic() - begun
            if condition(account):
                return account
            for process in alive:
                if process.exit_code is not None:
                    raise RuntimeError(
                        f"{process.name} ended ({process.exit_code}): {process.text()[-2000:]}"
                    )
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"not within {seconds:g} s: {dict(account.kinds)}, {len(account.rows)} rows, "
                    f"{len(account.files)} files, {len(account.dead_letters)} dead letters"
                )
            # The services need the processors more than whoever looks at them.
            time.sleep(max(0.2, looked))

    def _start(self, name: str, module: str, settings: dict[str, object]) -> ServiceProcess:
        prefix = self.settings.topic_prefix
        values: dict[str, object] = {
            "kafka_bootstrap": self.settings.kafka_bootstrap,
            "topic_prefix": prefix,
            "consumer_group": self._worker_group,
            "catalog_group": self._catalog_group,
            "output_root": self.output_root,
            "catalog_url": self.catalog_url,
            "create_topics": "false",
            **settings,
        }
        environment = {f"RESIDUA_{k.upper()}": str(v) for k, v in values.items()}
        if self._s3 is not None:
            environment |= self._s3.environment
        process = ServiceProcess(
            name, module, {**os.environ, **environment}, self._logs, fresh=self._fresh
        )
        self._processes.append(process)
        return process

    async def _account(self) -> Account:
        # Rows before topics: whoever sees a row then sees its outcome too.
        rows = self._rows()
        return await read_account(self.settings, rows, self._files)

    @property
    def _worker_group(self) -> str:
        return f"{self.settings.topic_prefix}worker"

    @property
    def _catalog_group(self) -> str:
        return f"{self.settings.topic_prefix}catalog"

    @property
    def output_root(self) -> str:
        """Root of the difference images."""
        prefix = self.settings.topic_prefix or "all"
        return str(self.output) if self._s3 is None else f"s3://{_BUCKET}/{prefix}"

    def _files(self) -> frozenset[str]:
        if self._s3 is None:
            found = self.output.rglob("difference_image_*.fits")
            # What a killed writer leaves in a hidden directory never had its name.
            return frozenset(p.as_uri() for p in found if not p.parent.name.startswith("."))
        keys = self._s3.keys(_BUCKET, f"{self.settings.topic_prefix or 'all'}/")
        return frozenset(f"s3://{_BUCKET}/{key}" for key in keys if key.endswith(".fits"))

    def _rows(self) -> dict[str, str]:
        if self.engine.dialect.name == "sqlite" and not self.catalog.exists():
            return {}
        c = obscore.c
        query = select(c.dataset_id, c.uri).where(c.dataset_type == "difference_image")
        try:
            with self.engine.connect() as connection:
                return {row.dataset_id: row.uri for row in connection.execute(query)}
        except DBAPIError:
            # The table is not there yet, or the server ended its connections.
            return {}
