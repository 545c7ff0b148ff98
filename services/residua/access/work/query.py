"""Running a query and answering with its rows."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import chain
from typing import Any

from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from residua.access.adql import AdqlError, ColumnSchema, Translation, UploadedTable
from residua.access.dali.cells import checked
from residua.access.dali.errors import UsageError
from residua.access.dali.formats import Format
from residua.access.dali.parameters import Parameters
from residua.access.dali.uploads import uploaded_tables
from residua.access.limits.cancellation import Cancellation
from residua.access.limits.places import Places, in_thread
from residua.access.limits.spool import Spool
from residua.access.rights.release import may_see_all, released_sql
from residua.access.store.query_limits import Limits
from residua.access.work.context import (
    Access,
    access_of,
    caller_of,
    cancellation_of,
    public_url,
)
from residua.access.work.tables_elsewhere import Asker, fetch_for
from residua.obscore import dia_source, obscore, obsplan, visit_detector

__all__ = ["answer", "max_rows_of", "translated", "translation_of", "views_of"]

# A tenth of the bytes for a tenth of the time that making them took.
_GZIP_LEVEL = 1
_SMALL_BYTES = 8_192


def translated(
    access: Access,
    adql: str,
    max_rows: int,
    parameters: Parameters | None = None,
    asker: Asker | None = None,
) -> Translation:
    """Translate a client's query, in milliseconds to a second; raises `UsageError`.

    Parameters
    ----------
    parameters, asker
        Those that may bring tables, and for whom.
    """
    uploads: tuple[UploadedTable, ...] = ()
    if asker is not None and parameters is not None and parameters.all("UPLOAD"):
        most = access.settings.max_upload_rows
        uploads = uploaded_tables(parameters, most, fetch_for(access, asker))
    try:
        return access.catalog.translate(adql, max_rows, uploads)
    except AdqlError as e:
        raise UsageError(str(e)) from e


async def translation_of(
    access: Access,
    adql: str,
    max_rows: int,
    parameters: Parameters | None = None,
    asker: Asker | None = None,
) -> Translation:
    """Translate off the event loop, or look up at once what was translated before.

    Parameters
    ----------
    parameters, asker
        Those that may bring tables, and for whom.
    """
    if parameters is None or not parameters.all("UPLOAD"):
        known = access.catalog.translations.known(adql, max_rows + 1)
        if known is not None:
            return known
    return await to_thread.run_sync(translated, access, adql, max_rows, parameters, asker)


def max_rows_of(access: Access, parameters: Parameters) -> int:
    """Rows to return: MAXREC within the service's limit."""
    asked = parameters.whole_number("MAXREC")
    settings = access.settings
    return min(settings.default_rows if asked is None else asked, settings.max_rows)


def views_of(access: Access, *, sees_all: bool) -> Mapping[str, str]:
    """Return the rows a query may see, by table: those of images that are public, or all.

    What was found on pixels has the rights of the pixels; where and when they were taken may be
    listed all the same.
    """
    settings = access.settings
    if sees_all:
        return {}
    public = released_sql(settings, access.catalog.kind)
    of_its_image = (
        f"SELECT 1 FROM {visit_detector.name} v JOIN {obscore.name} o "  # noqa: S608 our own words
        "ON o.dataset_id = v.dataset_id WHERE v.visitdetectorid = "
        f"{dia_source.name}.visitdetectorid AND ({public})"
    )
    views = {dia_source.name: f" WHERE EXISTS ({of_its_image})"}
    if access.catalog.kind == "postgresql":
        # Once an image, remembered (Memoize), whatever the planner believes: of a cone it believes
        # a thousandth of the table, and would look up the rights of all images first. OFFSET keeps
        # it from turning this into a join.
        views = {dia_source.name: f", LATERAL ({of_its_image} OFFSET 0) AS residua_seen"}
    if not settings.list_unreleased:
        views[obscore.name] = f" WHERE {public}"
        views[visit_detector.name] = (
            f" WHERE NOT EXISTS (SELECT 1 FROM {obscore.name} o WHERE o.dataset_id = "  # noqa: S608 our own words
            f"{visit_detector.name}.dataset_id AND NOT ({public}))"
        )
        # Where it will look is told no sooner than where it has looked.
        views[obsplan.name] = (
            f" WHERE EXISTS (SELECT 1 FROM {obscore.name} o WHERE o.instrument_name = "  # noqa: S608 our own words
            f"{obsplan.name}.instrument_name AND o.lsst_visit = {obsplan.name}.lsst_visit "
            f"AND ({public}))"
        )
    return views


async def answer(
    request: Request, places: Places, translation: Translation, form: Format, max_rows: int
) -> Response:
    """Run a query off the event loop and stream its rows.

    Errors of the query are raised before the answer begins; a short result is sent whole. A long
    one goes through a file, as fast as the database gives it: its place and its connection are
    free again before a slow client has read it. All of it ends when the client goes away.
    """
    access, caller = access_of(request), caller_of(request)
    cancellation = cancellation_of(request)
    remedy = "narrow it, or run it as a job" if places is access.queries else "narrow it"
    limits = Limits(access.settings.sync_seconds, cancellation, remedy)
    views = views_of(access, sees_all=may_see_all(access.settings, caller))
    batches = access.catalog.rows(translation, limits, views, service=public_url(request))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.place(caller.key))
        # Whatever happens, the connection is given back before the place.
        stack.callback(batches.close)
        chunks, complete = await in_thread(
            partial(_begin, translation.columns, batches, form, max_rows)
        )
        compressed = form.suffix != "parquet" and accepts_gzip(request)
        headers = {"Vary": "Accept-Encoding"} if form.suffix != "parquet" else {}
        if complete is not None:
            if compressed and len(complete) > _SMALL_BYTES:
                complete = await in_thread(partial(gzip.compress, complete, _GZIP_LEVEL))
                headers["Content-Encoding"] = "gzip"
            return Response(complete, media_type=form.media_type, headers=headers)
        if compressed:
            chunks = gzipped(chunks)
            headers["Content-Encoding"] = "gzip"
        spool = Spool(access.spools)
        kept = stack.pop_all()
    production = asyncio.create_task(_produce(spool, chunks, kept))
    return StreamingResponse(
        _stream(spool, production, cancellation), media_type=form.media_type, headers=headers
    )


def _begin(
    columns: Sequence[ColumnSchema],
    batches: Iterator[Sequence[tuple[Any, ...]]],
    form: Format,
    max_rows: int,
) -> tuple[Iterator[bytes], bytes | None]:
    tested = checked(columns, batches)
    first = next(tested, ())
    second = next(tested, None)
    rest = chain([first], [] if second is None else [second], tested)
    chunks = form.write(columns, rest, max_rows)
    return chunks, b"".join(chunks) if second is None else None


def accepts_gzip(request: Request) -> bool:
    """Whether the client takes gzip."""
    for word in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = word.strip().partition(";")
        if name == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def gzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Compress, and pass each chunk on as it comes."""
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=31)
    for chunk in chunks:
        yield compressor.compress(chunk) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


async def _produce(spool: Spool, chunks: Iterator[bytes], kept: AsyncExitStack) -> None:
    async with kept:
        await in_thread(partial(_fill, spool, chunks))


def _fill(spool: Spool, chunks: Iterator[bytes]) -> None:
    try:
        for chunk in chunks:
            spool.write(chunk)
    except Exception as e:  # noqa: BLE001 the reader of the spool raises it
        spool.end(e)
    else:
        spool.end()


async def _stream(
    spool: Spool, production: asyncio.Task[None], cancellation: Cancellation
) -> AsyncIterator[bytes]:
    try:
        async for chunk in spool.chunks():
            yield chunk
    finally:
        # Also when the client is gone: the query ends, and only then is the file given up.
        cancellation.set()
        production.add_done_callback(lambda _: spool.close())
