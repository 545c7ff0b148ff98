"""Tonight: what came last, how many, and whether it is good; live."""

import asyncio
from collections.abc import AsyncIterator
from functools import cache, partial
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from residua.access.dali.errors import NotFoundError
from residua.access.page.choice import Choice
from residua.access.page.records import Records
from residua.access.page.render import fragment, page, wants_page
from residua.access.protocols.vosi import service_addresses
from residua.access.work.context import access_of, caller_of

__all__ = ["router"]

router = APIRouter(tags=["Page"], include_in_schema=False)

_ROWS = 60
_LOOK_SECONDS = 1.0
# Proxies close what is silent for a minute.
_SILENCE = 15
_FOLDER = Path(__file__).parent / "static"
_SERVED = frozenset({".css", ".js", ".svg", ".LICENSE", ".md"})


@router.get("/")
async def front(request: Request) -> Response:
    """Tonight for browsers; the services' addresses for those who do not ask for HTML."""
    if not wants_page(request):
        return JSONResponse(service_addresses(request), headers={"Vary": "Accept"})
    return await tonight(request)


@router.get("/tonight")
async def tonight(request: Request) -> Response:
    """Show the newest visit-detectors."""
    records, choice = _records(request), Choice.of(request)
    live = await to_thread.run_sync(partial(_live, request, records, choice))
    return page(
        request,
        "tonight.html",
        choice=choice.fields,
        filtered=bool(choice.words),
        live=live,
        tab="tonight",
    )


@router.get("/tonight/events")
async def events(request: Request) -> Response:
    """Send the newest visit-detectors again whenever there are others (server-sent events)."""
    records, choice = _records(request), Choice.of(request)
    access, caller = access_of(request), caller_of(request)
    place = access.live.place(caller.key)
    await place.__aenter__()

    async def follow() -> AsyncIterator[str]:
        try:
            seen, silent = None, 0
            while not access.stopping.is_set():
                state = await to_thread.run_sync(records.state)
                silent += 1
                if state != seen:
                    live = await to_thread.run_sync(partial(_live, request, records, choice))
                    lines = "\n".join(f"data: {line}" for line in live.splitlines())
                    yield f"event: live\n{lines}\n\n"
                    seen, silent = state, 0
                elif silent >= _SILENCE:
                    yield ": nothing new\n\n"
                    silent = 0
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await place.__aexit__(None, None, None)

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(), media_type="text/event-stream", headers=headers)


@router.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """Return a file the page is made of."""
    if name not in _files():
        raise NotFoundError(f"no file {name[:60]!r}")
    # The address carries the version.
    age = "max-age=31536000, immutable" if request.url.query else "no-cache"
    return FileResponse(_FOLDER / name, headers={"Cache-Control": f"public, {age}"})


@cache
def _files() -> frozenset[str]:
    """Names of all files that are served, with the folder they lie in."""
    found = (path for path in _FOLDER.rglob("*") if path.suffix in _SERVED)
    return frozenset(str(path.relative_to(_FOLDER)) for path in found)


def _records(request: Request) -> Records:
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    return Records(access, caller)


def _live(request: Request, records: Records, choice: Choice) -> str:
    rows = records.newest(choice, _ROWS)
    older = rows[-1]["recorded_ms"] if len(rows) == _ROWS else None
    counts = records.counts(choice)
    night = next(iter(records.nights(1)), None)
    return fragment(
        request,
        "live.html",
        rows=rows,
        counts=counts,
        night=night,
        plan={} if night is None else records.plan(night),
        choice=choice.fields,
        filtered=bool(choice.words),
        older=older,
    )
