"""TAP 1.1: synchronous queries, and what the service says of itself."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from residua.access.dali.parameters import (
    documented,
    documented_form,
    parameters_of,
)
from residua.access.dali.query_parameters import checked_query, format_asked
from residua.access.protocols.selfdescription import examples, tables_document, tap_capabilities
from residua.access.rights.release import may_see_all
from residua.access.work.context import access_of, caller_of, public_url
from residua.access.work.job_owners import owner_of
from residua.access.work.query import answer, max_rows_of, translation_of
from residua.access.work.tables_elsewhere import Asker

__all__ = ["PARAMETERS", "router"]

router = APIRouter(prefix="/tap", tags=["TAP"])

PARAMETERS: tuple[tuple[str, str], ...] = (
    ("LANG", "ADQL, ADQL-2.0 or ADQL-2.1"),
    ("QUERY", "The query"),
    ("MAXREC", "Most rows"),
    ("RESPONSEFORMAT", "votable, votable/b2, csv, tsv or parquet; FORMAT is the same"),
    ("RUNID", "A word of the client's own"),
    ("UPLOAD", "NAME,param:FILE (a VOTable sent as FILE) or NAME,http://...: TAP_UPLOAD.NAME"),
)
"""Names and descriptions of the parameters of a query."""


@router.get("/sync", openapi_extra=documented(PARAMETERS), summary="Run a query")
@router.post(
    "/sync", openapi_extra=documented_form(PARAMETERS), summary="Run a query, parameters in a form"
)
async def sync(request: Request) -> Response:
    """Run an ADQL query and answer with its rows."""
    access = access_of(request)
    caller_of(request).require(access.settings.tap_scope)
    parameters = await parameters_of(request, files=True)
    if (parameters.one("REQUEST") or "doQuery").lower() == "getcapabilities":
        return await tap_capabilities_document(request)
    adql = checked_query(parameters)
    form = format_asked(parameters)
    max_rows = max_rows_of(access, parameters)
    owner = owner_of(request)
    asker = Asker(
        public_url(request),
        owner.name if owner.only else None,
        may_see_all(access.settings, caller_of(request)),
    )
    translation = await translation_of(access, adql, max_rows, parameters, asker)
    return await answer(request, access.queries, translation, form, max_rows)


@router.get("/capabilities", summary="VOSI capabilities")
async def tap_capabilities_document(request: Request) -> Response:
    """Say what the service can do."""
    base = f"{public_url(request)}/tap"
    document = tap_capabilities(base, access_of(request).settings)
    return Response(document, media_type="text/xml")


@router.get("/tables", summary="VOSI tables")
async def tables() -> Response:
    """List the tables."""
    return Response(tables_document(), media_type="text/xml")


@router.get("/examples", summary="DALI examples")
async def examples_page() -> HTMLResponse:
    """Show example queries."""
    return HTMLResponse(examples())
