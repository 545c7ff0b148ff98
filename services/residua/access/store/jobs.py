"""Asynchronous jobs: their table in the database, and their lives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)

from residua.errors import ResiduaError

__all__ = ["Job", "JobStore", "JobsDatabaseError", "Phase", "metadata"]

metadata = MetaData()

jobs = Table(
    "uws_job",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    Column("run_id", Text),
    Column("phase", String(16), nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("started", DateTime(timezone=True)),
    Column("ended", DateTime(timezone=True)),
    Column("destruction", DateTime(timezone=True), nullable=False, index=True),
    Column("seconds", Float, nullable=False, comment="Longest execution, seconds"),
    Column("parameters", JSON, nullable=False),
    Column("error", Text),
    Column("result_file", Text),
    Column("result_type", Text),
    Column("result_bytes", BigInteger),
    Column("creator", Text, comment="Whose quota it counts for: owner, or address of the client"),
    Column("sees_all", Boolean, comment="Whether the owner's token lifted the embargo"),
    Column("kind", String(16), comment="What it does: recreation; queries have none"),
    Column("progress", Text, comment="How far it is, in words"),
)
"""One row per job."""

# Whoever makes the table holds this lock of PostgreSQL's; the catalog's tables have another.
_LOCK = 7364298
# After its time is up and this much more, nobody is working on a job any more.
_LOST_SECONDS = 60.0


class JobsDatabaseError(ResiduaError):
    """The table of jobs cannot be made."""

    responsible = "operator"


class Phase(StrEnum):
    """Phases of a job, UWS 1.1 section 2.1.3."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """Whether nothing comes after it."""
        return self in {Phase.COMPLETED, Phase.ERROR, Phase.ABORTED}


@dataclass(frozen=True)
class Job:
    """A job as it stands in the table; times in UTC."""

    job_id: str
    owner: str
    run_id: str | None
    phase: Phase
    created: datetime
    started: datetime | None
    ended: datetime | None
    destruction: datetime
    seconds: float
    parameters: Mapping[str, str]
    error: str | None
    result_file: str | None
    result_type: str | None
    result_bytes: int | None
    creator: str | None
    sees_all: bool
    kind: str | None
    progress: str | None


@dataclass(frozen=True)
class JobStore:
    """The table of jobs and the directory of their results.

    Parameters
    ----------
    engine
        A database that can be written.
    directory
        Where results are kept; shared by all replicas of the service.
    kind
        Which jobs are seen and made through this; limits are for those of all kinds together.
    """

    engine: Engine
    directory: Path
    kind: Literal["recreation"] | None = None

    @property
    def _ours(self) -> ColumnElement[bool]:
        # A condition on nothing is written IS NULL.
        return jobs.c.kind == self.kind

    def create_table(self) -> None:
        """Create the table if it is missing, and its newer columns; replicas may do it at once."""
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            metadata.create_all(connection, checkfirst=True)
            there = {column["name"] for column in inspect(connection).get_columns(jobs.name)}
            missing = [column for column in jobs.columns if column.name not in there]
            for column in missing:
                kind = column.type.compile(self.engine.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {jobs.name} ADD COLUMN {column.name} {kind}"
                )

    def add(
        self, owner: str, creator: str, parameters: Mapping[str, str], seconds: float, days: float
    ) -> Job:
        """Create a pending job."""
        now = datetime.now(UTC)
        job_id = str(uuid4())
        values = {
            "job_id": job_id,
            "owner": owner,
            "creator": creator,
            "run_id": parameters.get("RUNID"),
            "phase": Phase.PENDING.value,
            "created": now,
            "destruction": now + timedelta(days=days),
            "seconds": seconds,
            "parameters": dict(parameters),
            "kind": self.kind,
        }
        with self.engine.begin() as connection:
            connection.execute(insert(jobs).values(**values))
        job = self.get(job_id)
        assert job is not None
        return job

    def kept(self, creator: str) -> tuple[int, int]:
        """Return how many jobs are kept for a creator, and how many bytes of results."""
        total = func.coalesce(func.sum(jobs.c.result_bytes), 0)
        statement = select(func.count(), total).where(jobs.c.creator == creator)
        with self.engine.connect() as connection:
            number, size = connection.execute(statement).one()
        return int(number), int(size)

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """Return a job; with ``owner``, only of this one."""
        statement = select(jobs).where(jobs.c.job_id == job_id, self._ours)
        if owner is not None:
            statement = statement.where(jobs.c.owner == owner)
        with self.engine.connect() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else _job(row)

    def all(self, owner: str, limit: int = 1_000) -> Sequence[Job]:
        """Return the jobs of an owner, newest first."""
        statement = (
            select(jobs)
            .where(jobs.c.owner == owner, self._ours)
            .order_by(jobs.c.created.desc())
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(statement).mappings()]

    def change(self, job_id: str, only_from: Sequence[Phase] = (), **values: Any) -> bool:
        """Change columns of a job; with ``only_from``, only in one of these phases.

        Returns
        -------
        changed
            Whether the job was there, in such a phase.
        """
        statement = update(jobs).where(jobs.c.job_id == job_id)
        if only_from:
            statement = statement.where(jobs.c.phase.in_([phase.value for phase in only_from]))
        with self.engine.begin() as connection:
            return connection.execute(statement.values(**values)).rowcount == 1

    def remove(self, job: Job) -> None:
        """Delete a job and its result."""
        with self.engine.begin() as connection:
            connection.execute(delete(jobs).where(jobs.c.job_id == job.job_id))
        if job.result_file is not None:
            (self.directory / job.result_file).unlink(missing_ok=True)

    def remove_old(self) -> int:
        """Delete the jobs whose destruction time has come; return how many."""
        statement = select(jobs).where(jobs.c.destruction < datetime.now(UTC))
        with self.engine.connect() as connection:
            old = [_job(row) for row in connection.execute(statement).mappings()]
        for job in old:
            self.remove(job)
        return len(old)


def _job(row: Mapping[Any, Any]) -> Job:
    values = dict(row)
    for name in ("created", "started", "ended", "destruction"):
        # SQLite keeps no time zone.
        if values[name] is not None and values[name].tzinfo is None:
            values[name] = values[name].replace(tzinfo=UTC)
    values["sees_all"] = bool(values["sees_all"])
    job = Job(**{**values, "phase": Phase(values["phase"])})
    if job.phase is Phase.EXECUTING and job.started is not None:
        limit = job.started + timedelta(seconds=job.seconds + _LOST_SECONDS)
        if datetime.now(UTC) > limit:
            lost = {"phase": Phase.ERROR, "ended": limit}
            return Job(**{**values, **lost, "error": "the process that ran the job is gone"})
    return job
