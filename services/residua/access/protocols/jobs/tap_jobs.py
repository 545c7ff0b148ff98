"""Queries as jobs: TAP's asynchronous half."""

from fastapi import Request
from fastapi.responses import FileResponse, Response

from residua.access.dali.errors import NotFoundError
from residua.access.dali.parameters import Parameters
from residua.access.dali.uploads import kept_uploads
from residua.access.protocols.jobs.tree import JobTree
from residua.access.protocols.jobs.uws import job_router
from residua.access.protocols.tap import PARAMETERS
from residua.access.rights.release import may_see_all
from residua.access.store.jobs import Job
from residua.access.work.context import access_of, caller_of, public_url
from residua.access.work.running import start

__all__ = ["router"]

_KEPT = (frozenset(name for name, _ in PARAMETERS) | {"FORMAT", "REQUEST"}) - {"UPLOAD"}


def _kept(parameters: Parameters) -> dict[str, str]:
    kept = {name: value for name in _KEPT if (value := parameters.one(name)) is not None}
    return {**kept, **kept_uploads(parameters)}


async def _start(request: Request, job: Job) -> None:
    access = access_of(request)
    sees_all = may_see_all(access.settings, caller_of(request))
    await start(access, job, public_url(request), sees_all=sees_all)


async def _result(request: Request, job: Job) -> Response:
    path = access_of(request).jobs.directory / str(job.result_file)
    if not path.is_file():
        raise NotFoundError("the result is not here any more")
    return FileResponse(path, media_type=job.result_type)


router = job_router(
    JobTree(
        path="/tap/async",
        title="TAP jobs",
        parameters=PARAMETERS,
        scope=lambda settings: settings.tap_scope,
        store=lambda access: access.jobs,
        kept=_kept,
        start=_start,
        result=_result,
    )
)
