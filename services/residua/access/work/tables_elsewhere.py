"""Tables of TAP_UPLOAD that lie elsewhere: results of the asker's own jobs, or at named hosts."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from residua.access.dali.errors import UsageError
from residua.access.work.context import Access

__all__ = ["Asker", "fetch_for"]

_RESULT = re.compile(r"/tap/async/([0-9a-f-]{36})/results/result")


@dataclass(frozen=True)
class Asker:
    """Who asks for a table.

    Parameters
    ----------
    base_url
        Under which the asker reaches this service.
    owner
        Whose jobs may be read; `None` where a job's address is the key to it.
    sees_all
        Whether results may be read that hold what is not public yet.
    """

    base_url: str
    owner: str | None
    sees_all: bool


def fetch_for(access: Access, asker: Asker) -> Callable[[str], bytes]:
    """Return what gets a table by its address, for one asker.

    The result of a job here is read from its file: nothing is asked of the network, so that it
    works, as TAP wants it, where no host may be asked.
    """

    def fetch(address: str) -> bytes:
        base = asker.base_url.removesuffix("/api")
        place = address.removeprefix(base).removeprefix("/api")
        found = _RESULT.fullmatch(place)
        if address.startswith(base) and found is not None:
            return _result(access, asker, found.group(1))
        return access.fetcher.fetch(address)

    return fetch


def _result(access: Access, asker: Asker, job_id: str) -> bytes:
    job = access.jobs.get(job_id, asker.owner)
    path = None if job is None or not job.result_file else access.jobs.directory / job.result_file
    if job is None or path is None or not path.is_file():
        raise UsageError(f"UPLOAD: the job {job_id} has no result here that is yours")
    if job.sees_all and not asker.sees_all:
        raise UsageError(f"UPLOAD: the result of {job_id} may hold what is not public yet")
    limit = access.settings.max_request_bytes
    if path.stat().st_size > limit:
        raise UsageError(f"UPLOAD: the result of {job_id} has more than {limit} bytes")
    return path.read_bytes()
