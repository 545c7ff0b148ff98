"""The application: parts, routes, errors."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import structlog
from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from residua.access.adql import TableSchema
from residua.access.dali.errors import RequestError, UsageError
from residua.access.dali.fetching import Fetcher
from residua.access.dali.responses import error_response
from residua.access.limits.places import Places
from residua.access.limits.spool import SpoolSpace
from residua.access.page import image, night, search, sign_in, tonight
from residua.access.page.drawing.pixels import PlaneCache
from residua.access.protocols import (
    datalink,
    file_delivery,
    sia,
    soda,
    tap,
    vosi,
)
from residua.access.protocols.jobs import recreations, tap_jobs
from residua.access.rights.tokens import TokenVerifier
from residua.access.settings import AccessSettings
from residua.access.store.catalog_reader import open_catalog
from residua.access.store.jobs import JobsDatabaseError, JobStore
from residua.access.store.public_tables import DIA_SOURCE, VISIT_DETECTOR, renamed
from residua.access.work.admission import Admission
from residua.access.work.context import Access
from residua.access.work.gate import Gate
from residua.access.work.recreating import Recreations
from residua.access.work.running import stop_all
from residua.extras import require, require_for
from residua.metrics.health import Health
from residua.obscore import create_tables
from residua.storage.regions.file_cache import FileCache

__all__ = ["create_app"]

_log = structlog.get_logger(__name__)
# For what is short: looking up datasets and jobs, verifying tokens.
_THREADS = 16
_BEAT_SECONDS = 5.0


def create_app(settings: AccessSettings) -> FastAPI:
    """Build the application.

    Nothing is opened before it starts; the catalog's tables and that of the jobs are created
    when they are missing and the database lets us.

    Raises
    ------
    residua.extras.MissingExtraError
        The settings ask for what is not installed.
    """
    require_for(settings.catalog_url, settings.jobs_url or "", *settings.image_roots)
    if settings.tokens_required:
        require("tokens", "RESIDUA_JWKS_URL")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with _results_directory(settings) as directory:
            observe = gate.metrics.recreated
            access = await to_thread.run_sync(_open, settings, directory, observe)
            threads = to_thread.current_default_thread_limiter()
            threads.total_tokens = _THREADS + _places(settings)
            asyncio.get_running_loop().set_default_executor(
                ThreadPoolExecutor(_THREADS + _places(settings), "residua")
            )
            app.state.access = access
            app.state.planes = PlaneCache()
            app.state.gate.verifier = access.verifier
            warming = asyncio.create_task(to_thread.run_sync(_warm_up))
            health = app.state.gate.metrics.health
            health.become_ready()
            beating = asyncio.create_task(_beat(health))
            try:
                yield
            finally:
                beating.cancel()
                await warming
                await stop_all(access)
                await access.recreations.stop()
                access.catalog.engine.dispose()
                access.jobs.engine.dispose()

    # It warns of every statement it cannot read: clients would fill the log.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    app = FastAPI(
        title="Residua",
        summary="Find, download and cut out difference images: SIA, TAP, DataLink, SODA.",
        lifespan=lifespan,
    )
    gate = Gate(settings)
    app.state.gate = gate
    app.add_middleware(Admission, gate=gate, collection=settings.collection)
    if settings.cors_origins:
        # Reading only: pages elsewhere must not make or delete jobs.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD"],
            allow_headers=["Authorization", "Range", "If-None-Match"],
            expose_headers=["Content-Range", "Content-Disposition", "ETag"],
        )
    # They are tried one after the other: first what programs ask for by the thousand.
    often = (sia, tap, soda, datalink, file_delivery, tap_jobs, recreations, vosi)
    for module in (*often, tonight, night, image, search, sign_in):
        app.include_router(module.router)
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(_BEAT_SECONDS)


async def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error_response(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
    return error_response(request, UsageError(parts))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wrapped = RequestError(str(error.detail))
    wrapped.status = error.status_code
    wrapped.fault = "UsageFault"
    response = error_response(request, wrapped)
    response.headers.update(error.headers or {})
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request failed", path=request.url.path, exc_info=error)
    return error_response(request, RequestError("something went wrong here; it is in the log"))


def _aliases(settings: AccessSettings) -> tuple[TableSchema, ...]:
    names = ((DIA_SOURCE, settings.dia_source_table), (VISIT_DETECTOR, settings.visit_table))
    return tuple(renamed(table, name) for table, name in names if name is not None)


def _places(settings: AccessSettings) -> int:
    return (
        settings.concurrent_queries
        + settings.concurrent_searches
        + settings.concurrent_jobs
        + settings.concurrent_cutouts
        + 1
    )


def _warm_up() -> None:
    # The first cutout would wait for seconds until these are loaded.
    import_module("residua.access.cutouts.cutting")
    import_module("residua.access.cutouts.archives")
    import_module("lsst.images.psfs")


@contextmanager
def _results_directory(settings: AccessSettings) -> Iterator[Path]:
    if settings.results_directory is not None:
        settings.results_directory.mkdir(parents=True, exist_ok=True)
        yield settings.results_directory
    else:
        with tempfile.TemporaryDirectory(
            prefix="residua-tap-", ignore_cleanup_errors=True
        ) as temporary:
            yield Path(temporary)


def _open(
    settings: AccessSettings, results_directory: Path, observe: Callable[[str], None]
) -> Access:
    recreated = results_directory / "recreated"
    jobs_url = settings.jobs_url or settings.catalog_url
    is_sqlite = make_url(jobs_url).get_backend_name() == "sqlite"
    engine = create_engine(
        jobs_url,
        pool_pre_ping=True,
        connect_args={"timeout": 30.0, "check_same_thread": False} if is_sqlite else {},
    )
    if settings.jobs_url is None and is_sqlite:
        # The embedded default: the consumer may not have started yet.
        create_tables(engine)
    jobs = JobStore(engine, results_directory)
    try:
        jobs.create_table()
    except DBAPIError as e:
        raise JobsDatabaseError(
            f"the table of TAP jobs cannot be made in {engine.url.render_as_string()}: "
            f"{str(e.orig).strip().splitlines()[0]}; set RESIDUA_JOBS_URL to a database that may "
            "be written"
        ) from e
    wait = settings.sync_seconds
    synchronous = settings.concurrent_queries + settings.concurrent_searches
    # Some connections more: looking up one dataset never waits for a query.
    connections = synchronous + settings.concurrent_jobs + 4
    files = FileCache()
    return Access(
        settings,
        open_catalog(settings.catalog_url, connections, _aliases(settings)),
        jobs,
        replace(jobs, kind="recreation"),
        TokenVerifier(settings) if settings.tokens_required else None,
        Places("queries", settings.concurrent_queries, wait),
        Places("searches", settings.concurrent_searches, wait),
        Places("cutouts", settings.concurrent_cutouts, wait),
        Places("large cutouts", 1, wait),
        Places("live pages", settings.concurrent_live, 1.0),
        asyncio.Semaphore(settings.concurrent_jobs),
        SpoolSpace(results_directory, settings.max_answer_bytes, settings.max_spool_bytes),
        files,
        Recreations(settings, recreated, observe, files),
        Fetcher(settings.upload_hosts, settings.max_request_bytes, settings.read_seconds),
    )
