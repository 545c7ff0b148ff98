# ruff: noqa: FAST003 the path's job_id goes to the dependency job_of
"""UWS 1.1: the tree of resources through which clients see and steer their jobs."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from residua.access.dali.errors import (
    EmbargoError,
    NotFoundError,
    OverloadError,
    UsageError,
)
from residua.access.dali.parameters import Parameters, documented_form, parameters_of
from residua.access.dali.votable import error_document
from residua.access.protocols.jobs.changes import (
    abort,
    set_destruction,
    set_duration,
    set_parameters,
)
from residua.access.protocols.jobs.documents import (
    job_document,
    jobs_document,
    parameters_document,
    results,
    utc_text,
)
from residua.access.protocols.jobs.tree import (
    JobTree,
    chosen,
    job_of,
    jobs_url,
    tree_of,
    wait_seconds,
)
from residua.access.rights.release import may_see_all
from residua.access.rights.tokens import Caller
from residua.access.store.jobs import Job
from residua.access.work.context import (
    Access,
    access_of,
    caller_of,
)
from residua.access.work.job_owners import owner_of

__all__ = ["job_router"]

_PHASE = ("PHASE", "RUN or ABORT")
_DURATION = ("EXECUTIONDURATION", "Longest execution, seconds")
_DESTRUCTION = ("DESTRUCTION", "When to delete the job, ISO 8601")

_shared = APIRouter()


def job_router(tree: JobTree) -> APIRouter:
    """Return the routes of one kind of jobs."""

    def enter(request: Request) -> None:
        request.state.job_tree = tree

    router = APIRouter(prefix=tree.path, tags=[tree.title], dependencies=[Depends(enter)])
    creation = (*tree.parameters, _PHASE)
    changes = (*creation, _DURATION, _DESTRUCTION, ("ACTION", "DELETE"))
    routes: Sequence[tuple[str, Callable[..., object], str, Sequence[tuple[str, str]]]] = (
        ("", create_job, "Create a job", creation),
        ("/{job_id}", change_job, "Change or delete a job", changes),
        (
            "/{job_id}/parameters",
            change_parameters,
            "Change parameters of a job",
            tree.parameters,
        ),
    )
    for path, handler, summary, parameters in routes:
        router.add_api_route(
            path,
            handler,
            methods=["POST"],
            summary=summary,
            openapi_extra=documented_form(parameters),
        )
    router.include_router(_shared)
    # An empty path is allowed of the outer router alone.
    router.add_api_route("", list_jobs, methods=["GET"], summary="List jobs")
    return router


_Job = Annotated[Job, Depends(job_of)]


async def list_jobs(request: Request) -> Response:
    """List the caller's jobs; PHASE, AFTER and LAST choose among them."""
    access, owner, tree = access_of(request), owner_of(request), tree_of(request)
    caller_of(request).require(tree.scope(access.settings))
    parameters = await parameters_of(request)
    jobs = await to_thread.run_sync(tree.store(access).all, owner.name)
    return Response(
        jobs_document(chosen(jobs, parameters), jobs_url(request)), media_type="text/xml"
    )


async def create_job(request: Request) -> Response:
    """Create a job; PHASE=RUN starts it at once."""
    access, caller, owner = access_of(request), caller_of(request), owner_of(request)
    tree = tree_of(request)
    caller.require(tree.scope(access.settings))
    parameters = await parameters_of(request, files=True)
    settings, store = access.settings, tree.store(access)
    await to_thread.run_sync(store.remove_old)
    await to_thread.run_sync(_check_quota, access, caller)
    job = await to_thread.run_sync(
        store.add,
        owner.name,
        caller.key,
        tree.kept(parameters),
        settings.async_seconds,
        settings.job_days,
    )
    await _set_phase(request, job, parameters)
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


@_shared.get("/{job_id}", summary="Describe a job")
async def show_job(request: Request, job: _Job) -> Response:
    """Describe a job; WAIT waits for its phase to change."""
    parameters = await parameters_of(request)
    seconds = wait_seconds(parameters)
    phase = (parameters.one("PHASE") or job.phase.value).upper()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until and not job.phase.final and job.phase.value == phase:
        await asyncio.sleep(0.1)
        job = await job_of(request, job.job_id)
    url = f"{jobs_url(request)}/{job.job_id}"
    return Response(job_document(job, url), media_type="text/xml")


async def change_job(request: Request, job: _Job) -> Response:
    """Change parameters, limits or phase of a job, or delete it with ACTION=DELETE."""
    parameters = await parameters_of(request, files=True)
    if (parameters.one("ACTION") or "").upper() == "DELETE":
        return await delete_job(request, job)
    tree, store = tree_of(request), tree_of(request).store(access_of(request))
    await set_parameters(store, job, tree.kept(parameters))
    await set_duration(store, job, parameters, access_of(request).settings.async_seconds)
    await set_destruction(store, job, parameters)
    await _set_phase(request, job, parameters)
    return _to_job(request, job)


@_shared.delete("/{job_id}", summary="Delete a job")
async def delete_job(request: Request, job: _Job) -> Response:
    """Abort a job and delete it with its result."""
    await to_thread.run_sync(tree_of(request).store(access_of(request)).remove, job)
    return RedirectResponse(jobs_url(request), status_code=303)


@_shared.get("/{job_id}/phase", summary="Phase of a job")
async def show_phase(job: _Job) -> PlainTextResponse:
    """Return the phase as plain text."""
    return PlainTextResponse(job.phase.value)


@_shared.post(
    "/{job_id}/phase", summary="Run or abort a job", openapi_extra=documented_form((_PHASE,))
)
async def change_phase(request: Request, job: _Job) -> Response:
    """Run (PHASE=RUN) or abort (PHASE=ABORT) a job."""
    parameters = await parameters_of(request)
    if parameters.one("PHASE") is None:
        raise UsageError("PHASE is missing")
    await _set_phase(request, job, parameters)
    return _to_job(request, job)


@_shared.get("/{job_id}/executionduration", summary="Longest execution of a job")
async def show_duration(job: _Job) -> PlainTextResponse:
    """Return the limit of execution, seconds."""
    return PlainTextResponse(str(round(job.seconds)))


@_shared.post(
    "/{job_id}/executionduration",
    summary="Change the longest execution",
    openapi_extra=documented_form((_DURATION,)),
)
async def change_duration(request: Request, job: _Job) -> Response:
    """Change the limit of execution, within that of the service."""
    access = access_of(request)
    parameters, store = await parameters_of(request), tree_of(request).store(access)
    await set_duration(store, job, parameters, access.settings.async_seconds)
    return _to_job(request, job)


@_shared.get("/{job_id}/destruction", summary="When a job is deleted")
async def show_destruction(job: _Job) -> PlainTextResponse:
    """Return the time of deletion, UTC."""
    return PlainTextResponse(utc_text(job.destruction))


@_shared.post(
    "/{job_id}/destruction",
    summary="Change when a job is deleted",
    openapi_extra=documented_form((_DESTRUCTION,)),
)
async def change_destruction(request: Request, job: _Job) -> Response:
    """Change the time of deletion, to an earlier one than the service's own."""
    store = tree_of(request).store(access_of(request))
    await set_destruction(store, job, await parameters_of(request))
    return _to_job(request, job)


@_shared.get("/{job_id}/quote", summary="When a job will be done")
async def show_quote(job: _Job) -> PlainTextResponse:
    """Return nothing: nobody knows."""
    return PlainTextResponse(utc_text(job.ended) if job.ended is not None else "")


@_shared.get("/{job_id}/owner", summary="Whose job it is")
async def show_owner(job: _Job) -> PlainTextResponse:
    """Return the owner's name."""
    return PlainTextResponse(job.owner)


@_shared.get("/{job_id}/error", summary="Why a job failed")
async def show_error(job: _Job) -> Response:
    """Return the error as a VOTable; there is none for other jobs."""
    if job.error is None:
        raise NotFoundError(f"the job is {job.phase}; there is no error")
    return Response(error_document(job.error), media_type="application/x-votable+xml")


@_shared.get("/{job_id}/parameters", summary="Parameters of a job")
async def show_parameters(job: _Job) -> Response:
    """Return the parameters."""
    return Response(parameters_document(job), media_type="text/xml")


async def change_parameters(request: Request, job: _Job) -> Response:
    """Change parameters of a pending job."""
    tree = tree_of(request)
    changed = tree.kept(await parameters_of(request, files=True))
    await set_parameters(tree.store(access_of(request)), job, changed)
    return _to_job(request, job)


@_shared.get("/{job_id}/results", summary="Results of a job")
async def show_results(request: Request, job: _Job) -> Response:
    """List the results."""
    url = f"{jobs_url(request)}/{job.job_id}"
    return Response(results(job, url, root=True), media_type="text/xml")


@_shared.get("/{job_id}/results/result", summary="The result of a job")
async def show_result(request: Request, job: _Job) -> Response:
    """Return the table, or lead to the file."""
    access, caller = access_of(request), caller_of(request)
    if job.result_file is None:
        raise NotFoundError(f"the job is {job.phase}; there is no result")
    if job.sees_all and not may_see_all(access.settings, caller):
        raise EmbargoError(
            "the result may hold what is not public yet; a token with the scope "
            f"{access.settings.embargo_scope} is needed"
        )
    return await tree_of(request).result(request, job)


async def _set_phase(request: Request, job: Job, parameters: Parameters) -> None:
    """Run or abort a job if PHASE says so."""
    phase, tree = (parameters.one("PHASE") or "").upper(), tree_of(request)
    if phase == "RUN":
        await tree.start(request, job)
    elif phase == "ABORT":
        await abort(tree.store(access_of(request)), job)
    elif phase:
        raise UsageError(f"PHASE {phase[:20]!r} is neither RUN nor ABORT")


def _to_job(request: Request, job: Job) -> RedirectResponse:
    return RedirectResponse(f"{jobs_url(request)}/{job.job_id}", status_code=303)
