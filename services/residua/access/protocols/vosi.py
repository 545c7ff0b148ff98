"""VOSI: availability and capabilities of every service; a page for people; a probe."""

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from residua.access.protocols.selfdescription import availability, capabilities
from residua.access.work.context import access_of, public_url

__all__ = ["router", "service_addresses"]

router = APIRouter(tags=["VOSI"])

_SERVICES = {
    "sia": ("ivo://ivoa.net/std/SIA#query-2.0", "/sia/query"),
    "datalink": ("ivo://ivoa.net/std/DataLink#links-1.1", "/datalink/links"),
    "cutout": ("ivo://ivoa.net/std/SODA#sync-1.0", "/cutout"),
}


@router.get("/services", summary="Addresses of the services")
async def addresses(request: Request) -> JSONResponse:
    """List the services; as `/` does for those who do not ask for HTML."""
    return JSONResponse(service_addresses(request))


def service_addresses(request: Request) -> dict[str, str]:
    """Return the services' addresses by name."""
    base = public_url(request)
    return {
        "sia": f"{base}/sia",
        "tap": f"{base}/tap",
        "datalink": f"{base}/datalink/links",
        "cutout": f"{base}/cutout",
        "docs": f"{base}/docs",
    }


@router.get("/discovery", summary="Addresses as lsst.rsp looks for them")
@router.get("/repertoire/discovery", include_in_schema=False)
async def discovery(request: Request) -> JSONResponse:
    """List the services as Rubin's clients read it: ``RSPDiscovery(NAME, discovery_url=...)``."""
    settings = access_of(request).settings
    base = public_url(request).removesuffix("/api")
    services = {
        name: {"url": f"{base}/api/{path}"}
        for name, path in (
            ("sia", f"sia/{settings.collection}"), ("tap", "tap"), ("datalink", "datalink"),
            ("cutout", "cutout"), ("images", "images"),
        )
    }  # fmt: skip
    dataset = {"services": services}
    return JSONResponse({"applications": ["residua"], "datasets": {settings.collection: dataset}})


@router.get("/tap", summary="Addresses of TAP")
async def tap_addresses(request: Request) -> JSONResponse:
    """List what is under the address of TAP."""
    base = f"{public_url(request)}/tap"
    names = ("sync", "async", "tables", "capabilities", "availability", "examples")
    return JSONResponse({name: f"{base}/{name}" for name in names})


@router.get("/datalink", summary="Addresses of DataLink")
async def datalink_addresses(request: Request) -> JSONResponse:
    """List what is under the address of DataLink."""
    return JSONResponse({"links": f"{public_url(request)}/datalink/links?ID="})


@router.get("/sia/availability", summary="VOSI availability")
@router.get("/tap/availability", summary="VOSI availability")
@router.get("/datalink/availability", summary="VOSI availability")
@router.get("/cutout/availability", summary="VOSI availability")
async def show_availability(request: Request) -> Response:
    """Say whether the database answers."""
    try:
        await to_thread.run_sync(access_of(request).catalog.check)
    except SQLAlchemyError:
        document = availability(available=False, note="the database does not answer")
    else:
        document = availability(available=True)
    return Response(document, media_type="text/xml")


@router.get("/health", summary="Probe")
async def health(request: Request) -> JSONResponse:
    """Answer 200 when the database does, else 503."""
    try:
        await to_thread.run_sync(access_of(request).catalog.check)
    except SQLAlchemyError as e:
        return JSONResponse({"status": "no database", "error": type(e).__name__}, 503)
    return JSONResponse({"status": "ok"})


@router.get("/sia/capabilities", summary="VOSI capabilities")
@router.get("/datalink/capabilities", summary="VOSI capabilities")
@router.get("/cutout/capabilities", summary="VOSI capabilities")
async def show_capabilities(request: Request) -> Response:
    """Say which standard the service follows, and where."""
    name = request.url.path.rstrip("/").split("/")[-2]
    standard, path = _SERVICES[name]
    base = public_url(request)
    document = capabilities(
        f"{base}/{name}", [(standard, f"{base}{path}")], access_of(request).settings
    )
    return Response(document, media_type="text/xml")
