"""SODA 1.0, synchronous: cutouts by CIRCLE, POLYGON or POS."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast, override

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from lsst.resources import ResourcePath
from starlette.types import Receive, Scope, Send

from residua.access.cutouts.modes import CUTOUT_MODES
from residua.access.dali.errors import NotFoundError, RequestError, UsageError
from residua.access.dali.parameters import (
    Parameters,
    documented,
    documented_form,
    parameters_of,
)
from residua.access.limits.places import in_thread
from residua.access.protocols.file_delivery import dataset_of, deliver, held_file
from residua.access.work.context import Access, access_of, caller_of
from residua.sphere.regions import (
    Circle,
    Polygon,
    Range,
    Region,
    RegionError,
    parse_region,
)
from residua.sphere.relations import bounding_cap

if TYPE_CHECKING:
    from residua.storage.regions.open_file import OpenFile

__all__ = ["PARAMETERS", "router", "stencil_of"]

router = APIRouter(tags=["SODA"])

# A second of work for the largest mode; what needs more must not be in the way of stamps.
_LARGE_PIXELS = 1_500_000
# Of an image that is not stored: what is larger has the whole made, once for all who ask next.
_LARGEST_PART = 1 << 20
# What is larger waits for its client on the disk.
_LARGE_BYTES = 4_000_000

type _Made = Path | bytes | Literal["whole"] | None
"""A cutout in a file or in memory; the file itself; nothing at all."""

PARAMETERS: tuple[tuple[str, str], ...] = (
    ("ID", "Publisher dataset identifier"),
    ("CIRCLE", "ra dec r, ICRS degrees"),
    ("POLYGON", "ra dec ra dec ra dec ..., ICRS degrees"),
    ("POS", "CIRCLE ra dec r, RANGE ra1 ra2 dec1 dec2 or POLYGON ra dec ..."),
    ("CUTOUTMODE", "image (pixels and WCS), masked-image (variance and mask too) or exposure"),
)
"""Names and descriptions of the parameters."""


@router.get("/cutout/sync", include_in_schema=False)
@router.post("/cutout/sync", include_in_schema=False)
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
    held = await held_file(access, caller, row, "image", make=False)
    pixels = _pixels(row, region)
    places = access.large_cutouts if pixels > _LARGE_PIXELS else access.cutouts
    made: _Made = "whole"
    if held.size is not None and pixels <= _LARGEST_PART:
        async with places.place(caller.key):
            made = await in_thread(partial(_make_part, access, row, region, mode), _drop)
    if held.size is not None and made == "whole":
        held = await held_file(access, caller, row, "image")
    if held.size is None:
        async with places.place(caller.key):
            made = await in_thread(partial(_make, access, held.location, region, mode), _drop)
    name = f"cutout_{row['dataset_id']}.fits"
    if made is None:
        return Response(status_code=204)
    if made == "whole":
        return await deliver(request, held)
    if isinstance(made, Path):
        return _PassingFile(made, media_type="application/fits", filename=name)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(made, media_type="application/fits", headers=headers)


def _drop(made: _Made) -> None:
    """Remove a cutout whose client went away before it was made."""
    if isinstance(made, Path):
        made.unlink(missing_ok=True)


class _PassingFile(FileResponse):
    """A file that is gone once it was sent, or its client went away."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink(missing_ok=True)  # noqa: ASYNC240 it takes no time


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


def _pixels(row: Mapping[str, Any], region: Region) -> float:
    """Estimate the pixels of a cutout, before the file is opened."""
    whole = float((row["s_xel1"] or 0) * (row["s_xel2"] or 0))
    radius = float(row["s_fov"] or 0.0) / 2.0
    if not radius:
        return whole
    return whole * min(1.0, (bounding_cap(region)[1] / radius) ** 2)


def _make(access: Access, location: ResourcePath, region: Region, mode: str) -> _Made:
    """Make a cutout: a small one in memory, a large one in a file; all of it is the file itself."""
    from residua.storage.regions.open_file import UnknownFormError

    try:
        with suppress(UnknownFormError, KeyError):
            made = access.files.use(location, partial(_cut, region=region, mode=mode))
            if made is not None:
                return made.cutout
    except FileNotFoundError as e:
        raise NotFoundError("the file is not there any more") from e
    except OSError as e:
        raise RequestError(f"the file cannot be read: {e}") from e
    return _make_slowly(location, region, mode)


def _make_part(access: Access, row: Mapping[str, Any], region: Region, mode: str) -> _Made:
    """Make a cutout of an image that is not stored; "whole" where no part of it can be made."""
    from residua.storage.regions.open_file import UnknownFormError

    file = access.recreations.part_of(row)
    if file is None:
        return "whole"
    with access.recreations.speaking_of(row["dataset_id"]):
        try:
            made = _cut(file, region, mode).cutout
        except (UnknownFormError, KeyError):
            from residua.recreation.partial.remade import RemadeStream

            made = _make_slowly(BufferedReader(RemadeStream(file)), region, mode)
    access.recreations.counted("part")
    return made


@dataclass(frozen=True)
class _Cut:
    cutout: _Made


def _cut(file: "OpenFile", region: Region, mode: str) -> _Cut:
    """Cut out of an open file; raises `UnknownFormError` where that must be done more slowly."""
    from residua.access.cutouts.archives import ARCHIVE_PLANES, archive_bytes
    from residua.access.cutouts.stencils import pixel_box
    from residua.storage.regions.open_file import UnknownFormError

    if not file.wcs.has_celestial:
        raise UnknownFormError
    shape = file.plane("IMAGE").shape
    box = pixel_box(region, file.wcs, shape)
    if box is None:
        return _Cut(None)
    if box == (slice(0, shape[0]), slice(0, shape[1])):
        return _Cut("whole")
    if mode not in ARCHIVE_PLANES:
        raise UnknownFormError
    return _Cut(_kept(archive_bytes(file, mode, box)))


def _kept(parts: Sequence[bytes]) -> Path | bytes:
    if sum(map(len, parts)) <= _LARGE_BYTES:
        return b"".join(parts)
    with tempfile.NamedTemporaryFile(
        prefix="residua-cutout-", suffix=".fits", delete=False
    ) as file:
        file.writelines(parts)
    return Path(file.name)


def _make_slowly(source: ResourcePath | IO[bytes], region: Region, mode: str) -> Path | None:
    from residua.access.cutouts.cutting import CutoutMode, write_cutout

    handle, name = tempfile.mkstemp(prefix="residua-cutout-", suffix=".fits")
    os.close(handle)
    path = Path(name)
    path.unlink()
    try:
        written = write_cutout(source, region, cast("CutoutMode", mode), path)
    except FileNotFoundError as e:
        raise NotFoundError("the file is not there any more") from e
    except OSError as e:
        path.unlink(missing_ok=True)
        raise RequestError(f"the file cannot be read: {e}") from e
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path if written else None
