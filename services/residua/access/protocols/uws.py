# ruff: noqa: FAST003 the path's job_id goes to the dependency _job_of
"""UWS 1.1: the tree of resources through which clients see and steer their jobs."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from residua.access.dali.errors import (
    EmbargoError,
    NotFoundError,
    OverloadError,
    UsageError,
)
from residua.access.dali.parameters import Parameters, documented_form, parameters_of
from residua.access.dali.votable import error_document
from residua.access.protocols.tap import PARAMETERS
from residua.access.protocols.uws_changes import (
    kept_parameters,
    set_destruction,
    set_duration,
    set_parameters,
    set_phase,
)
from residua.access.protocols.uws_documents import (
    job_document,
    jobs_document,
    parameters_document,
    results,
    utc_text,
)
from residua.access.rights.release import may_see_all
from residua.access.rights.tokens import Caller
from residua.access.store.jobs import Job
from residua.access.work.context import (
    Access,
    access_of,
    caller_of,
    public_url,
)
from residua.access.work.job_owners import owner_of

__all__ = ["router"]

router = APIRouter(prefix="/tap/async", tags=["TAP jobs"])

_LONGEST_WAIT = 60.0

_PHASE = ("PHASE", "RUN or ABORT")
_DURATION = ("EXECUTIONDURATION", "Longest execution, seconds")
_DESTRUCTION = ("DESTRUCTION", "When to delete the job, ISO 8601")
_CREATION = (*PARAMETERS, _PHASE)
_CHANGES = (*_CREATION, _DURATION, _DESTRUCTION, ("ACTION", "DELETE"))

_JobId = Annotated[str, Path(max_length=64)]


async def _job_of(request: Request, job_id: _JobId) -> Job:
    access, owner = access_of(request), owner_of(request)
    caller_of(request).require(access.settings.tap_scope)
    job = await to_thread.run_sync(access.jobs.get, job_id, owner.name if owner.only else None)
    if job is None:
        raise NotFoundError(f"no job {job_id[:64]}")
    return job


_Job = Annotated[Job, Depends(_job_of)]


@router.get("", summary="List jobs")
async def list_jobs(request: Request) -> Response:
    """List the caller's jobs; PHASE, AFTER and LAST choose among them."""
    access, owner = access_of(request), owner_of(request)
    caller_of(request).require(access.settings.tap_scope)
    parameters = await parameters_of(request)
    jobs = await to_thread.run_sync(access.jobs.all, owner.name)
    return Response(
        jobs_document(_chosen(jobs, parameters), f"{public_url(request)}/tap/async"),
        media_type="text/xml",
    )


@router.post("", summary="Create a job", openapi_extra=documented_form(_CREATION))
async def create_job(request: Request) -> Response:
    """Create a job; PHASE=RUN starts it at once."""
    access, caller, owner = access_of(request), caller_of(request), owner_of(request)
    caller.require(access.settings.tap_scope)
    parameters = await parameters_of(request, files=True)
    settings = access.settings
    await to_thread.run_sync(access.jobs.remove_old)
    await to_thread.run_sync(_check_quota, access, caller)
    job = await to_thread.run_sync(
        access.jobs.add,
        owner.name,
        caller.key,
        kept_parameters(parameters),
        settings.async_seconds,
        settings.job_days,
    )
    await set_phase(request, job, parameters)
    response = _to_job(request, job)
    owner.sign(request, response)
    return response


def _check_quota(access: Access, caller: Caller) -> None:
    number, size = access.jobs.kept(caller.key)
    settings = access.settings
    if number >= settings.max_jobs or size >= settings.max_results_bytes:
        raise OverloadError(
            f"{number} jobs with {size} bytes of results are kept for you, of {settings.max_jobs} "
            f"and {settings.max_results_bytes}; delete some, or wait until they expire"
        )


@router.get("/{job_id}", summary="Describe a job")
async def show_job(request: Request, job: _Job) -> Response:
    """Describe a job; WAIT waits for its phase to change."""
    parameters = await parameters_of(request)
    seconds = _wait_seconds(parameters)
    phase = (parameters.one("PHASE") or job.phase.value).upper()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until and not job.phase.final and job.phase.value == phase:
        await asyncio.sleep(0.1)
        job = await _job_of(request, job.job_id)
    url = f"{public_url(request)}/tap/async/{job.job_id}"
    return Response(job_document(job, url), media_type="text/xml")


@router.post("/{job_id}", summary="Change or delete a job", openapi_extra=documented_form(_CHANGES))
async def change_job(request: Request, job: _Job) -> Response:
    """Change parameters, limits or phase of a job, or delete it with ACTION=DELETE."""
    parameters = await parameters_of(request, files=True)
    if (parameters.one("ACTION") or "").upper() == "DELETE":
        return await delete_job(request, job)
    await set_parameters(request, job, parameters)
    await set_duration(request, job, parameters)
    await set_destruction(request, job, parameters)
    await set_phase(request, job, parameters)
    return _to_job(request, job)


@router.delete("/{job_id}", summary="Delete a job")
async def delete_job(request: Request, job: _Job) -> Response:
    """Abort a job and delete it with its result."""
    await to_thread.run_sync(access_of(request).jobs.remove, job)
    return RedirectResponse(f"{public_url(request)}/tap/async", status_code=303)


@router.get("/{job_id}/phase", summary="Phase of a job")
async def show_phase(job: _Job) -> PlainTextResponse:
    """Return the phase as plain text."""
    return PlainTextResponse(job.phase.value)


@router.post(
    "/{job_id}/phase", summary="Run or abort a job", openapi_extra=documented_form((_PHASE,))
)
async def change_phase(request: Request, job: _Job) -> Response:
    """Run (PHASE=RUN) or abort (PHASE=ABORT) a job."""
    parameters = await parameters_of(request)
    if parameters.one("PHASE") is None:
        raise UsageError("PHASE is missing")
    await set_phase(request, job, parameters)
    return _to_job(request, job)


@router.get("/{job_id}/executionduration", summary="Longest execution of a job")
async def show_duration(job: _Job) -> PlainTextResponse:
    """Return the limit of execution, seconds."""
    return PlainTextResponse(str(round(job.seconds)))


@router.post(
    "/{job_id}/executionduration",
    summary="Change the longest execution",
    openapi_extra=documented_form((_DURATION,)),
)
async def change_duration(request: Request, job: _Job) -> Response:
    """Change the limit of execution, within that of the service."""
    await set_duration(request, job, await parameters_of(request))
    return _to_job(request, job)


@router.get("/{job_id}/destruction", summary="When a job is deleted")
async def show_destruction(job: _Job) -> PlainTextResponse:
    """Return the time of deletion, UTC."""
    return PlainTextResponse(utc_text(job.destruction))


@router.post(
    "/{job_id}/destruction",
    summary="Change when a job is deleted",
    openapi_extra=documented_form((_DESTRUCTION,)),
)
async def change_destruction(request: Request, job: _Job) -> Response:
    """Change the time of deletion, to an earlier one than the service's own."""
    await set_destruction(request, job, await parameters_of(request))
    return _to_job(request, job)


@router.get("/{job_id}/quote", summary="When a job will be done")
async def show_quote(job: _Job) -> PlainTextResponse:
    """Return nothing: nobody knows."""
    return PlainTextResponse(utc_text(job.ended) if job.ended is not None else "")


@router.get("/{job_id}/owner", summary="Whose job it is")
async def show_owner(job: _Job) -> PlainTextResponse:
    """Return the owner's name."""
    return PlainTextResponse(job.owner)


@router.get("/{job_id}/error", summary="Why a job failed")
async def show_error(job: _Job) -> Response:
    """Return the error as a VOTable; there is none for other jobs."""
    if job.error is None:
        raise NotFoundError(f"the job is {job.phase}; there is no error")
    return Response(error_document(job.error), media_type="application/x-votable+xml")


@router.get("/{job_id}/parameters", summary="Parameters of a job")
async def show_parameters(job: _Job) -> Response:
    """Return the parameters."""
    return Response(parameters_document(job), media_type="text/xml")


@router.post(
    "/{job_id}/parameters",
    summary="Change parameters of a job",
    openapi_extra=documented_form(PARAMETERS),
)
async def change_parameters(request: Request, job: _Job) -> Response:
    """Change parameters of a pending job."""
    await set_parameters(request, job, await parameters_of(request, files=True))
    return _to_job(request, job)


@router.get("/{job_id}/results", summary="Results of a job")
async def show_results(request: Request, job: _Job) -> Response:
    """List the results."""
    url = f"{public_url(request)}/tap/async/{job.job_id}"
    return Response(results(job, url, root=True), media_type="text/xml")


@router.get("/{job_id}/results/result", summary="The result of a job")
async def show_result(request: Request, job: _Job) -> Response:
    """Return the table."""
    access, caller = access_of(request), caller_of(request)
    if job.result_file is None:
        raise NotFoundError(f"the job is {job.phase}; there is no result")
    if job.sees_all and not may_see_all(access.settings, caller):
        raise EmbargoError(
            "the result may hold what is not public yet; a token with the scope "
            f"{access.settings.embargo_scope} is needed"
        )
    path = access.jobs.directory / job.result_file
    if not path.is_file():
        raise NotFoundError("the result is not here any more")
    return FileResponse(path, media_type=job.result_type)


def _wait_seconds(parameters: Parameters) -> float:
    text = parameters.one("WAIT")
    if text is None:
        return 0.0
    if text.strip() == "-1":
        return _LONGEST_WAIT
    return min(float(parameters.whole_number("WAIT") or 0), _LONGEST_WAIT)


def _chosen(jobs: Sequence[Job], parameters: Parameters) -> Sequence[Job]:
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


def _to_job(request: Request, job: Job) -> RedirectResponse:
    return RedirectResponse(f"{public_url(request)}/tap/async/{job.job_id}", status_code=303)
