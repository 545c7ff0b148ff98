"""What clients may change of a job."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from anyio import to_thread

from residua.access.dali.errors import UsageError
from residua.access.dali.parameters import Parameters
from residua.access.store.jobs import Job, JobStore, Phase

__all__ = ["abort", "set_destruction", "set_duration", "set_parameters"]


async def abort(store: JobStore, job: Job) -> None:
    """End a job that has not ended."""
    values = {"phase": Phase.ABORTED.value, "ended": datetime.now(UTC)}
    await to_thread.run_sync(
        lambda: store.change(job.job_id, (Phase.PENDING, Phase.QUEUED, Phase.EXECUTING), **values)
    )


async def set_parameters(store: JobStore, job: Job, changed: Mapping[str, str]) -> None:
    """Change what a job is to do while it is pending."""
    if not changed:
        return
    if job.phase is not Phase.PENDING:
        raise UsageError(f"the job is {job.phase}; its parameters cannot change")
    await _change(store, job, parameters={**job.parameters, **changed})


async def set_duration(store: JobStore, job: Job, parameters: Parameters, longest: float) -> None:
    """Change the limit of execution, within that of the service."""
    seconds = parameters.whole_number("EXECUTIONDURATION")
    if seconds is not None:
        await _change(store, job, seconds=min(float(seconds), longest) or longest)


async def set_destruction(store: JobStore, job: Job, parameters: Parameters) -> None:
    """Change the time of deletion, to an earlier one."""
    text = parameters.one("DESTRUCTION")
    if text is None:
        return
    try:
        asked = datetime.fromisoformat(text.strip())
    except ValueError as e:
        raise UsageError(f"DESTRUCTION {text[:40]!r} is not a time in ISO 8601") from e
    asked = asked.replace(tzinfo=UTC) if asked.tzinfo is None else asked
    await _change(store, job, destruction=min(asked.astimezone(UTC), job.destruction))


async def _change(store: JobStore, job: Job, **values: Any) -> None:
    await to_thread.run_sync(lambda: store.change(job.job_id, **values))
