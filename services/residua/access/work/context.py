"""What the request handlers share, made once when the service starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request

from residua.access.dali.errors import OverloadError
from residua.access.rights.tokens import Caller, TokenVerifier
from residua.access.settings import AccessSettings
from residua.access.store.database import Catalog
from residua.access.store.jobs import JobStore

__all__ = ["Access", "access_of", "caller_of", "public_url"]


@dataclass(frozen=True)
class Access:
    """The service's parts.

    Parameters
    ----------
    queries, job_slots, cutouts
        How many may run at once.
    tasks
        The jobs this process runs, by identifier.
    """

    settings: AccessSettings
    catalog: Catalog
    jobs: JobStore
    verifier: TokenVerifier | None
    queries: asyncio.Semaphore
    job_slots: asyncio.Semaphore
    cutouts: asyncio.Semaphore
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @asynccontextmanager
    async def slot(self, semaphore: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a turn, no longer than a synchronous query may take."""
        try:
            await asyncio.wait_for(semaphore.acquire(), self.settings.sync_seconds)
        except TimeoutError as e:
            raise OverloadError("all places are taken; try again in a minute") from e
        try:
            yield
        finally:
            semaphore.release()


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


def public_url(request: Request) -> str:
    """URL the client reaches this service under, without a slash at the end."""
    configured = access_of(request).settings.public_url
    return (configured or str(request.base_url)).rstrip("/")
