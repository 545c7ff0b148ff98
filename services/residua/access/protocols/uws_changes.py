"""What clients may change of a job."""

from datetime import UTC, datetime
from typing import Any

from anyio import to_thread
from fastapi import Request

from residua.access.dali.errors import UsageError
from residua.access.dali.parameters import Parameters
from residua.access.dali.uploads import kept_uploads
from residua.access.protocols.tap import PARAMETERS
from residua.access.rights.release import may_see_all
from residua.access.store.jobs import Job, Phase
from residua.access.work import running
from residua.access.work.context import access_of, caller_of, public_url

__all__ = [
    "kept_parameters",
    "set_destruction",
    "set_duration",
    "set_parameters",
    "set_phase",
]

_KEPT = (frozenset(name for name, _ in PARAMETERS) | {"FORMAT", "REQUEST"}) - {"UPLOAD"}


async def set_phase(request: Request, job: Job, parameters: Parameters) -> None:
    """Run or abort a job if PHASE says so."""
    phase = (parameters.one("PHASE") or "").upper()
    access = access_of(request)
    if phase == "RUN":
        sees_all = may_see_all(access.settings, caller_of(request))
        await running.start(access, job, public_url(request), sees_all=sees_all)
    elif phase == "ABORT":
        values = {"phase": Phase.ABORTED.value, "ended": datetime.now(UTC)}
        await to_thread.run_sync(
            lambda: access.jobs.change(
                job.job_id, (Phase.PENDING, Phase.QUEUED, Phase.EXECUTING), **values
            )
        )
    elif phase:
        raise UsageError(f"PHASE {phase[:20]!r} is neither RUN nor ABORT")


async def set_parameters(request: Request, job: Job, parameters: Parameters) -> None:
    """Change the query and its options while the job is pending."""
    changed = kept_parameters(parameters)
    if not changed:
        return
    if job.phase is not Phase.PENDING:
        raise UsageError(f"the job is {job.phase}; its parameters cannot change")
    await _change(request, job, parameters={**job.parameters, **changed})


async def set_duration(request: Request, job: Job, parameters: Parameters) -> None:
    """Change the limit of execution, within that of the service."""
    seconds = parameters.whole_number("EXECUTIONDURATION")
    if seconds is not None:
        longest = access_of(request).settings.async_seconds
        await _change(request, job, seconds=min(float(seconds), longest) or longest)


async def set_destruction(request: Request, job: Job, parameters: Parameters) -> None:
    """Change the time of deletion, to an earlier one."""
    text = parameters.one("DESTRUCTION")
    if text is None:
        return
    try:
        asked = datetime.fromisoformat(text.strip())
    except ValueError as e:
        raise UsageError(f"DESTRUCTION {text[:40]!r} is not a time in ISO 8601") from e
    asked = asked.replace(tzinfo=UTC) if asked.tzinfo is None else asked
    await _change(request, job, destruction=min(asked.astimezone(UTC), job.destruction))


async def _change(request: Request, job: Job, **values: Any) -> None:
    await to_thread.run_sync(lambda: access_of(request).jobs.change(job.job_id, **values))


def kept_parameters(parameters: Parameters) -> dict[str, str]:
    """Return the parameters a job remembers."""
    kept = {name: value for name in _KEPT if (value := parameters.one(name)) is not None}
    return {**kept, **kept_uploads(parameters)}
