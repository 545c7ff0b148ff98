"""SODA 1.0, synchronous: cutouts by CIRCLE, POLYGON or POS."""

import os
import tempfile
from pathlib import Path
from typing import cast

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from lsst.resources import ResourcePath
from starlette.background import BackgroundTask

from residua.access.context import access_of, caller_of
from residua.access.cutout_modes import CUTOUT_MODES
from residua.access.errors import NotFoundError, RequestError, UsageError
from residua.access.files import dataset_of, held_file
from residua.access.parameters import Parameters, documented, documented_form, parameters_of
from residua.access.regions import Circle, Polygon, Range, Region, RegionError, parse_region

__all__ = ["PARAMETERS", "router", "stencil_of"]

router = APIRouter(tags=["SODA"])

PARAMETERS: tuple[tuple[str, str], ...] = (
    ("ID", "Publisher dataset identifier"),
    ("CIRCLE", "ra dec r, ICRS degrees"),
    ("POLYGON", "ra dec ra dec ra dec ..., ICRS degrees"),
    ("POS", "CIRCLE ra dec r, RANGE ra1 ra2 dec1 dec2 or POLYGON ra dec ..."),
    ("CUTOUTMODE", "image (pixels and WCS), masked-image (variance and mask too) or exposure"),
)
"""Names and descriptions of the parameters."""


@router.get("/cutout", openapi_extra=documented(PARAMETERS), summary="Cut out")
@router.post(
    "/cutout", openapi_extra=documented_form(PARAMETERS), summary="Cut out, parameters in a form"
)
async def cutout(request: Request) -> Response:
    """Return the part of an image around a region, as FITS; 204 when there is none."""
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    parameters = await parameters_of(request)
    identifier = parameters.one("ID")
    if identifier is None:
        raise UsageError("ID is missing")
    region = stencil_of(parameters)
    mode = (parameters.one("CUTOUTMODE") or "image").strip().lower()
    if mode not in CUTOUT_MODES.values():
        offered = ", ".join(CUTOUT_MODES.values())
        raise UsageError(f"CUTOUTMODE {mode[:30]!r} is not offered; there are {offered}")
    row = await dataset_of(access, caller, "obs_publisher_did", identifier)
    held = await held_file(access, caller, row, "image")
    async with access.slot(access.cutouts):
        path = await to_thread.run_sync(_make, held.location, region, mode)
    if path is None:
        return Response(status_code=204)
    return FileResponse(
        path,
        media_type="application/fits",
        filename=f"cutout_{row['dataset_id']}.fits",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def stencil_of(parameters: Parameters) -> Region:
    """Return the one region asked for; raises `UsageError` for none or several."""
    given = [
        (name, value) for name in ("CIRCLE", "POLYGON", "POS") for value in parameters.all(name)
    ]
    if len(given) != 1:
        raise UsageError(f"{len(given)} regions; give one CIRCLE, POLYGON or POS")
    name, value = given[0]
    try:
        region = parse_region(value if name == "POS" else f"{name} {value}")
    except RegionError as e:
        raise UsageError(f"{name}: {e}") from e
    if not isinstance(region, Circle | Polygon | Range):
        raise UsageError(f"{name}: a CIRCLE, RANGE or POLYGON is needed")
    return region


def _make(location: ResourcePath, region: Region, mode: str) -> Path | None:
    from residua.access.cutouts import CutoutMode, write_cutout

    handle, name = tempfile.mkstemp(prefix="residua-cutout-", suffix=".fits")
    os.close(handle)
    path = Path(name)
    path.unlink()
    try:
        written = write_cutout(location, region, cast("CutoutMode", mode), path)
    except FileNotFoundError as e:
        raise NotFoundError("the file is not there any more") from e
    except OSError as e:
        path.unlink(missing_ok=True)
        raise RequestError(f"the file cannot be read: {e}") from e
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path if written else None
