"""Run the real services as processes against a broker, harm them, and count what came of it."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from residua.kafka import OutgoingRecord, create_topics, event_record, read_to_end, send
from residua.outcomes import Outcome
from residua.settings import KafkaSettings
from residua.testing.s3 import S3Server
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    DeadLetter,
    VisitArrival,
    VisitDetector,
    outcome_from_json,
)

__all__ = ["Account", "Delivery", "ServiceProcess", "arrival", "arrival_record"]

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


@dataclass(frozen=True)
class Account:
    """What there is after some deliveries.

    Parameters
    ----------
    outcomes
        First outcome event of each dataset and revision.
    repeats
        Outcome events that repeat an id with the same content.
    conflicts
        Outcome events that repeat an id, or a dataset and revision, with other content.
    dead_letters
        One of each original place.
    dead_letter_repeats
        Dead letters of a place beyond the first.
    rows
        ObsCore rows of difference images: dataset id to URI.
    files
        Difference images in the store.
    """

    outcomes: tuple[Outcome, ...]
    repeats: int
    conflicts: int
    dead_letters: tuple[DeadLetter, ...]
    dead_letter_repeats: int
    rows: dict[str, str]
    files: frozenset[str]

    @property
    def kinds(self) -> Counter[str]:
        """Number of outcomes of each kind."""
        return Counter(o.outcome for o in self.outcomes)

    @property
    def visits(self) -> Counter[int]:
        """Number of outcomes of each visit."""
        return Counter(o.visit_detector.visit for o in self.outcomes)


class ServiceProcess:
    """A service in a process of its own.

    Parameters
    ----------
    name
        Name of its log file.
    command
        Arguments of the Python interpreter.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], directory: Path
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 the command is ours
                [sys.executable, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """`None` while it runs."""
        return self._process.poll()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float) -> int:
        """Wait for its end; returns the exit code."""
        return self._process.wait(seconds)

    def stop(self, seconds: float = 240.0) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self._process.terminate()
        return self._process.wait(seconds)

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")


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
    """

    def __init__(
        self,
        settings: KafkaSettings,
        directory: Path,
        *,
        partitions: int = 4,
        replication: int = 1,
        s3: S3Server | None = None,
    ) -> None:
        self.settings = settings
        self.output = directory / "output"
        self._s3 = s3
        self._replication = replication
        self.catalog = directory / "catalog.sqlite"
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
        module: str = "residua.testing.stand_in",
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
            account = self.account()
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
            time.sleep(0.2)

    def _start(self, name: str, module: str, settings: dict[str, object]) -> ServiceProcess:
        prefix = self.settings.topic_prefix
        values: dict[str, object] = {
            "kafka_bootstrap": self.settings.kafka_bootstrap,
            "topic_prefix": prefix,
            "consumer_group": f"{prefix}worker",
            "catalog_group": f"{prefix}catalog",
            "output_root": self._output_root,
            "catalog_url": f"sqlite:///{self.catalog}",
            "create_topics": "false",
            **settings,
        }
        environment = {f"RESIDUA_{k.upper()}": str(v) for k, v in values.items()}
        if self._s3 is not None:
            environment |= self._s3.environment
        process = ServiceProcess(name, ["-m", module], {**os.environ, **environment}, self._logs)
        self._processes.append(process)
        return process

    async def _account(self) -> Account:
        # Rows before topics: whoever sees a row then sees its outcome too.
        rows = self._rows()
        first: dict[tuple[str, int], tuple[bytes | None, bytes | None]] = {}
        by_id: dict[bytes | None, bytes | None] = {}
        outcomes: list[Outcome] = []
        repeats = conflicts = 0
        async for record in read_to_end(self.settings, self.settings.topic_name(DIFFERENCE_IMAGES)):
            outcome = outcome_from_json(record.value)
            ce_id = dict(record.headers).get("ce_id")
            identity = (str(outcome.dataset_id), outcome.revision)
            content = (ce_id, record.value)
            if by_id.setdefault(ce_id, record.value) != record.value:
                conflicts += 1
            elif identity not in first:
                first[identity] = content
                outcomes.append(outcome)
            elif first[identity] == content:
                repeats += 1
            else:
                conflicts += 1
        letters: dict[bytes, DeadLetter] = {}
        letter_records = 0
        async for record in read_to_end(self.settings, self.settings.topic_name(DEAD_LETTERS)):
            letter = DeadLetter.model_validate_json(record.value)
            letters.setdefault(letter.record_key, letter)
            letter_records += 1
        return Account(
            outcomes=tuple(outcomes),
            repeats=repeats,
            conflicts=conflicts,
            dead_letters=tuple(letters.values()),
            dead_letter_repeats=letter_records - len(letters),
            rows=rows,
            files=self._files(),
        )

    @property
    def _output_root(self) -> str:
        prefix = self.settings.topic_prefix or "all"
        return str(self.output) if self._s3 is None else f"s3://{_BUCKET}/{prefix}"

    def _files(self) -> frozenset[str]:
        if self._s3 is None:
            found = self.output.rglob("difference_image_*.fits")
            # What a killed writer leaves in a hidden directory never had its name.
            return frozenset(p.as_uri() for p in found if not p.parent.name.startswith("."))
        keys = self._s3.keys(_BUCKET, f"{self.settings.topic_prefix or 'all'}/")
        return frozenset(f"s3://{_BUCKET}/{key}" for key in keys)

    def _rows(self) -> dict[str, str]:
        if not self.catalog.exists():
            return {}
        connection = sqlite3.connect(self.catalog, timeout=10.0)
        try:
            return dict(
                connection.execute(
                    "SELECT dataset_id, uri FROM obscore WHERE dataset_type = 'difference_image'"
                )
            )
        except sqlite3.OperationalError:
            # The table is not there yet.
            return {}
        finally:
            connection.close()
