"""Whole images that are not stored, as jobs: UWS with the progress, and the file as the result.

The result is the image's own address: the job keeps no copy, and whoever may read the image may
read it there. It stays made for a while; later it is made again.
"""

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from residua.access.dali.errors import UsageError
from residua.access.dali.parameters import Parameters
from residua.access.protocols.file_delivery import dataset_of
from residua.access.protocols.jobs.tree import JobTree
from residua.access.protocols.jobs.uws import job_router
from residua.access.rights.release import may_see_all, require_released
from residua.access.store.jobs import Job
from residua.access.work.context import access_of, caller_of, public_url
from residua.access.work.recreation_job import recreation
from residua.access.work.running import start_work

__all__ = ["PARAMETERS", "PATH", "router"]

PATH = "/recreations"
PARAMETERS: tuple[tuple[str, str], ...] = (
    ("ID", "Publisher dataset identifier of a difference image"),
    ("RUNID", "A word of the client's own"),
)
"""Names and descriptions of the parameters."""


def _kept(parameters: Parameters) -> dict[str, str]:
    return {name: v for name, _ in PARAMETERS if (v := parameters.one(name)) is not None}


async def _start(request: Request, job: Job) -> None:
    """Start a job for an image that this caller may read; raises what a request for it would."""
    access, caller = access_of(request), caller_of(request)
    identifier = job.parameters.get("ID")
    if identifier is None:
        raise UsageError("ID is missing")
    row = await dataset_of(access, caller, "obs_publisher_did", identifier)
    require_released([row], access.settings, caller)
    if row["dataset_type"] != "difference_image":
        raise UsageError(f"{identifier[:200]} is no difference image: it is not made here")
    work = recreation(access, row, caller.key)
    sees_all = may_see_all(access.settings, caller)
    await start_work(access, access.recreation_jobs, job, work, sees_all=sees_all)


async def _result(request: Request, job: Job) -> Response:
    return RedirectResponse(f"{public_url(request)}/images/{job.result_file}", status_code=303)


router = job_router(
    JobTree(
        path=PATH,
        title="Recreations",
        parameters=PARAMETERS,
        scope=lambda settings: settings.read_scope,
        store=lambda access: access.recreation_jobs,
        kept=_kept,
        start=_start,
        result=_result,
    )
)
