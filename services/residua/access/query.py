"""Running a query and answering with its rows."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

from anyio import to_thread
from fastapi.responses import Response, StreamingResponse

from residua.access.adql import AdqlError, ColumnSchema, Translation
from residua.access.context import Access
from residua.access.database import Limits
from residua.access.errors import UsageError
from residua.access.formats import Format
from residua.access.parameters import Parameters
from residua.access.release import may_see_all, released_sql
from residua.access.tables import OBSCORE
from residua.access.tokens import Caller
from residua.access.votable import Batches, known_kinds
from residua.obscore import obscore

__all__ = ["answer", "max_rows_of", "rewritten", "translated", "views_of"]

_ACCESS_URL = OBSCORE.column("access_url")


def translated(access: Access, adql: str, max_rows: int) -> Translation:
    """Translate a client's query, in milliseconds to a second; raises `UsageError`."""
    try:
        return access.catalog.translate(adql, max_rows)
    except AdqlError as e:
        raise UsageError(str(e)) from e


def max_rows_of(access: Access, parameters: Parameters) -> int:
    """Rows to return: MAXREC within the service's limit."""
    asked = parameters.whole_number("MAXREC")
    settings = access.settings
    return min(settings.default_rows if asked is None else asked, settings.max_rows)


def views_of(access: Access, *, sees_all: bool) -> Mapping[str, str]:
    """Return the rows a query may see, by table: those of images that are public, or all."""
    settings = access.settings
    if sees_all or settings.list_unreleased:
        return {}
    return {obscore.name: released_sql(settings, access.catalog.kind)}


async def answer(
    access: Access,
    caller: Caller,
    translation: Translation,
    form: Format,
    max_rows: int,
    base_url: str,
) -> Response:
    """Run a query off the event loop and stream its rows.

    Errors of the query are raised before the answer begins; a short result is sent whole.
    """
    limits = Limits(access.settings.sync_seconds)
    views = views_of(access, sees_all=may_see_all(access.settings, caller))
    batches = access.catalog.rows(translation, limits, views)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(access.slot(access.queries))
        chunks, complete = await to_thread.run_sync(
            _begin, translation.columns, batches, form, max_rows, base_url
        )
        if complete is not None:
            return Response(complete, media_type=form.media_type)
        # The slot and the connection are given back when the stream ends.
        kept = stack.pop_all()
    return StreamingResponse(_stream(chunks, batches, kept), media_type=form.media_type)


def rewritten(
    columns: Sequence[ColumnSchema], batches: Batches, base_url: str
) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Let access URLs lead to this service, whatever stood there when the row was written."""
    assert _ACCESS_URL is not None
    places = [i for i, column in enumerate(columns) if column.utype == _ACCESS_URL.utype]
    for batch in batches:
        yield [_with_url(row, places, base_url) for row in batch] if places else batch


def _with_url(row: Sequence[Any], places: Sequence[int], base_url: str) -> tuple[Any, ...]:
    cells = list(row)
    for i in places:
        if isinstance(cells[i], str) and "/links?ID=" in cells[i]:
            identifier = cells[i].split("/links?ID=", 1)[1]
            cells[i] = f"{base_url}/datalink/links?ID={identifier}"
    return tuple(cells)


def _begin(
    columns: Sequence[ColumnSchema],
    batches: Iterator[Sequence[tuple[Any, ...]]],
    form: Format,
    max_rows: int,
    base_url: str,
) -> tuple[Iterator[bytes], bytes | None]:
    first = next(batches, ())
    second = next(batches, None)
    rest = chain([first], [] if second is None else [second], batches)
    kinds = known_kinds(columns, first)
    chunks = form.write(kinds, rewritten(kinds, rest, base_url), max_rows)
    return chunks, b"".join(chunks) if second is None else None


async def _stream(
    chunks: Iterator[bytes], batches: Iterator[Any], kept: AsyncExitStack
) -> AsyncIterator[bytes]:
    async with kept:
        try:
            while (chunk := await to_thread.run_sync(next, chunks, None)) is not None:
                yield chunk
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                await to_thread.run_sync(close)
