"""A kind of jobs: where clients find them, what they take, do and give."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from anyio import to_thread
from fastapi import Path, Request
from fastapi.responses import Response

from residua.access.dali.errors import NotFoundError, UsageError
from residua.access.dali.parameters import Parameters
from residua.access.settings import AccessSettings
from residua.access.store.jobs import Job, JobStore
from residua.access.work.context import Access, access_of, caller_of, public_url
from residua.access.work.job_owners import owner_of

__all__ = ["JobTree", "chosen", "job_of", "jobs_url", "tree_of", "wait_seconds"]

_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class JobTree:
    """One kind of jobs, and where clients find them.

    Parameters
    ----------
    path
        Address of the list of jobs.
    title
        For the documentation.
    parameters
        Names and descriptions of what a job takes.
    scope
        What a caller's token must grant.
    store
        Where the jobs are.
    kept
        From a request's parameters to those that a job remembers.
    start
        Starts a pending job.
    result
        Answers with the result of a job that has one.
    """

    path: str
    title: str
    parameters: Sequence[tuple[str, str]]
    scope: Callable[[AccessSettings], str]
    store: Callable[[Access], JobStore]
    kept: Callable[[Parameters], dict[str, str]]
    start: Callable[[Request, Job], Awaitable[object]]
    result: Callable[[Request, Job], Awaitable[Response]]


def tree_of(request: Request) -> JobTree:
    """Return which kind of jobs a request is about."""
    tree = request.state.job_tree
    assert isinstance(tree, JobTree)
    return tree


def jobs_url(request: Request) -> str:
    """Return the address of the list of jobs a request is about."""
    return f"{public_url(request)}{tree_of(request).path}"


async def job_of(request: Request, job_id: Annotated[str, Path(max_length=64)]) -> Job:
    """Return the job a request is about; raises `NotFoundError`, also for another caller's."""
    access, owner, tree = access_of(request), owner_of(request), tree_of(request)
    caller_of(request).require(tree.scope(access.settings))
    store = tree.store(access)
    job = await to_thread.run_sync(store.get, job_id, owner.name if owner.only else None)
    if job is None:
        raise NotFoundError(f"no job {job_id[:64]}")
    return job


def wait_seconds(parameters: Parameters) -> float:
    """Return how long a request may wait for a change, seconds."""
    text = parameters.one("WAIT")
    if text is None:
        return 0.0
    if text.strip() == "-1":
        return _LONGEST_WAIT
    return min(float(parameters.whole_number("WAIT") or 0), _LONGEST_WAIT)


def chosen(jobs: Sequence[Job], parameters: Parameters) -> Sequence[Job]:
    """Choose among jobs, newest first, by PHASE, AFTER and LAST."""
    phases = {phase.upper() for phase in parameters.all("PHASE")}
    if phases:
        jobs = [job for job in jobs if job.phase.value in phases]
    after = parameters.one("AFTER")
    if after is not None:
        try:
            since = datetime.fromisoformat(after.strip())
        except ValueError as e:
            raise UsageError(f"AFTER {after[:40]!r} is not a time in ISO 8601") from e
        since = since.replace(tzinfo=UTC) if since.tzinfo is None else since
        jobs = [job for job in jobs if job.created > since]
    last = parameters.whole_number("LAST")
    return jobs if last is None else jobs[:last]
