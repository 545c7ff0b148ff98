"""What the request handlers share, made once when the service starts."""

import asyncio
from dataclasses import dataclass, field

from fastapi import Request

from residua.access.dali.fetching import Fetcher
from residua.access.limits.cancellation import Cancellation
from residua.access.limits.places import Places
from residua.access.limits.spool import SpoolSpace
from residua.access.rights.tokens import Caller, TokenVerifier
from residua.access.settings import AccessSettings
from residua.access.store.catalog_reader import Catalog
from residua.access.store.jobs import JobStore
from residua.access.work.recreating import Recreations
from residua.storage.regions.file_cache import FileCache

__all__ = ["Access", "access_of", "caller_of", "cancellation_of", "public_url"]


@dataclass(frozen=True)
class Access:
    """The service's parts.

    Parameters
    ----------
    jobs, recreation_jobs
        Of queries, and of images that are not kept.
    queries, searches, cutouts, large_cutouts, live
        How many may run at once: TAP, SIA, SODA and pictures, pages that follow the night.
    job_slots
        The same for asynchronous jobs.
    spools
        Disk for answers on their way.
    files
        Files that were cut out of lately.
    recreations
        Makes the images that are not kept.
    fetcher
        Gets tables that clients have elsewhere.
    tasks
        The jobs this process runs, by identifier.
    stopping
        Set when the service is about to end: answers without an end come to theirs.
    """

    settings: AccessSettings
    catalog: Catalog
    jobs: JobStore
    recreation_jobs: JobStore
    verifier: TokenVerifier | None
    queries: Places
    searches: Places
    cutouts: Places
    large_cutouts: Places
    live: Places
    job_slots: asyncio.Semaphore
    spools: SpoolSpace
    files: FileCache
    recreations: Recreations
    fetcher: Fetcher
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


def access_of(request: Request) -> Access:
    """Return the parts of the service a request came to."""
    access = request.app.state.access
    assert isinstance(access, Access)
    return access


def caller_of(request: Request) -> Caller:
    """Return who sent the request, as the middleware found out."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


def cancellation_of(request: Request) -> Cancellation:
    """Return what is set when the client goes away."""
    cancellation = request.state.cancellation
    assert isinstance(cancellation, Cancellation)
    return cancellation


def public_url(request: Request) -> str:
    """URL the client reaches this service under, without a slash at the end.

    Who asks under Rubin's ``/api`` is answered with addresses under it: clients send their token
    nowhere else.
    """
    configured = access_of(request).settings.public_url
    base = (configured or str(request.base_url)).rstrip("/")
    return f"{base}/api" if request.scope.get("state", {}).get("under_api") else base
