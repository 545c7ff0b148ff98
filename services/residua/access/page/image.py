"""One image: its planes to pan and zoom, what was found on it, how good it is, where it is from."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from residua.access.dali.errors import EmbargoError, NotFoundError, RequestError, UsageError
from residua.access.limits.places import in_thread
from residua.access.page.drawing import pictures
from residua.access.page.drawing.looking import Looked, component_of, work_on
from residua.access.page.drawing.pixels import ImagePlanes, PlaneName, WholeNeededError
from residua.access.page.explain import explain, quality_rows
from residua.access.page.place import explain_place, pixel_of
from residua.access.page.records import Records
from residua.access.page.render import fragment, page
from residua.access.protocols.file_delivery import dataset_of, held_file
from residua.access.rights.release import require_released
from residua.access.work.context import access_of, caller_of, public_url
from residua_schemas import DifferenceImageCreated

__all__ = ["router"]

router = APIRouter(prefix="/view", tags=["Page"], include_in_schema=False)

_STRETCHES = frozenset({"asinh", "linear", "sqrt", "log"})
_PLANES = frozenset({"science", "template", "difference"})
_MOST_DETECTIONS = 300
_FIELD = 3
_TILE_HEADERS = {"Cache-Control": "private, max-age=86400"}


@router.get("/{dataset_id}")
async def image(request: Request, dataset_id: str) -> Response:
    """Show one visit-detector: its image if there is one, else why there is none."""
    access, records = access_of(request), _records(request)
    became = await to_thread.run_sync(records.visit_detector, dataset_id)
    if became is None:
        raise NotFoundError(f"no visit-detector {dataset_id[:60]}")
    history = await to_thread.run_sync(records.history, dataset_id)
    siblings = await to_thread.run_sync(
        records.of_visit, became["visit"], became["detector"], became["instrument"]
    )
    shared = {"became": became, "history": history, "siblings": siblings, "tab": "tonight"}
    if became["outcome"] != "created":
        return page(request, "no_image.html", **shared)
    try:
        looked = await _looked(request, dataset_id)
    except (EmbargoError, NotFoundError) as e:
        return page(request, "no_image.html", **shared, problem=e.message)
    number = became["visitdetectorid"]
    detections = await to_thread.run_sync(records.detections, number, _MOST_DETECTIONS)
    try:
        planes = await _worked(request, looked, lambda opened: opened)
    except RequestError as e:
        return page(request, "no_image.html", **shared, problem=e.message)
    event = looked.event
    ny, nx = planes.shape
    viewer = {
        "width": nx,
        "height": ny,
        "tile": pictures.TILE,
        "level": pictures.levels(planes.shape),
        "planes": planes.names,
        "scale": event.pixel_scale,
        "version": event.checksum[7:19],
        "detections": [
            {"id": str(d["diasourceid"]), "x": d["x"], "y": d["y"], "snr": d["snr"]}
            for d in detections
        ],
    }
    colors = {
        name: "#{:02x}{:02x}{:02x}".format(*pictures.MASK_COLORS.get(name, (200, 200, 200)))
        for name in planes.mask_bits
    }
    return page(
        request,
        "image.html",
        **shared,
        event=event,
        row=looked.row,
        viewer=viewer,
        masks=colors,
        detections=detections,
        quality=quality_rows(event),
        story=explain(event),
        at={name: _number(request, name) for name in ("ra", "dec")},
        service=public_url(request),
        collection=access.settings.collection,
    )


@router.get("/{dataset_id}/place")
async def place(request: Request, dataset_id: str) -> Response:
    """Say what is at a place: ``x`` and ``y``, or ``ra`` and ``dec``."""
    looked, records = await _looked(request, dataset_id), _records(request)
    became = await to_thread.run_sync(records.visit_detector, dataset_id)
    number = -1 if became is None else became["visitdetectorid"]
    detections = await to_thread.run_sync(records.detections, number, _MOST_DETECTIONS)
    ra, dec, x, y = (_number(request, name) for name in ("ra", "dec", "x", "y"))

    def say(planes: ImagePlanes) -> str:
        at = (
            pixel_of(planes, ra, dec)
            if ra is not None and dec is not None
            else (x or 0.0, y or 0.0)
        )
        story = explain_place(planes, looked.event, *at, detections)
        return fragment(request, "place.html", story=story)

    return HTMLResponse(await _worked(request, looked, say), headers=_TILE_HEADERS)


@router.get("/{dataset_id}/tiles/{plane}/{level}/{column}_{row}.png")
async def one_tile(
    request: Request, dataset_id: str, plane: str, level: int, column: int, row: int
) -> Response:
    """Return a tile of a plane, or of the mask planes named in ``show``."""
    looked = await _looked(request, dataset_id)
    place = (level, column, row)
    if plane == "mask":
        shown = [name for name in request.query_params.get("show", "").split(",") if name][:40]
        return await _drawn(request, looked, lambda p: pictures.mask_tile(p, place, shown))
    if plane not in _PLANES:
        raise NotFoundError(f"no plane {plane[:30]!r}")
    stretch = request.query_params.get("stretch", "asinh")
    if stretch not in _STRETCHES:
        raise UsageError(f"stretch {stretch[:20]!r} is none of {', '.join(sorted(_STRETCHES))}")
    name, curve = cast("PlaneName", plane), cast("pictures.Stretch", stretch)
    limit = _positive(request, "limit")
    return await _drawn(request, looked, lambda p: pictures.tile(p, name, place, curve, limit))


@router.get("/{dataset_id}/stamp.png")
async def stamp(request: Request, dataset_id: str) -> Response:
    """Return what lies around a place, ``x`` and ``y`` in pixels, on every plane."""
    looked = await _looked(request, dataset_id)
    x, y = (_positive(request, name) or 0.0 for name in ("x", "y"))
    return await _drawn(request, looked, lambda p: pictures.stamp_strip(p, x, y))


@router.get("/{dataset_id}/{what}.png")
async def over_the_field(request: Request, dataset_id: str, what: str) -> Response:
    """Return the PSF or the kernel at nine places of the image."""
    if what not in {"psf", "kernel"}:
        raise NotFoundError(f"no picture {what[:20]!r}")
    looked = await _looked(request, dataset_id)

    def draw(planes: ImagePlanes) -> bytes:
        ny, nx = planes.shape
        component = component_of(looked, planes, what)
        places = [(2 * i + 1) / (2 * _FIELD) for i in range(_FIELD)]
        rows = [
            [
                component.compute_kernel_image(x=round(u * (nx - 1)), y=round(v * (ny - 1))).array
                for u in places
            ]
            for v in reversed(places)
        ]
        return pictures.stamps_over_the_field(_of_one_size(rows))

    return await _drawn(request, looked, draw)


def _of_one_size(rows: list[list[Any]]) -> list[list[Any]]:
    """Cut the middle out, so that all have one shape and no more than what matters."""
    size = min([33, *(min(stamp.shape) for row in rows for stamp in row)])
    size -= 1 - size % 2

    def middle(stamp: Any) -> Any:
        y, x = ((n - size) // 2 for n in stamp.shape)
        return np.asarray(stamp)[y : y + size, x : x + size]

    return [[middle(stamp) for stamp in row] for row in rows]


def _records(request: Request) -> Records:
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    return Records(access, caller)


async def _looked(request: Request, dataset_id: str) -> Looked:
    """Return an image if its pixels may be seen; the visit image with the rights it has."""
    access, caller = access_of(request), caller_of(request)
    row = await dataset_of(access, caller, "dataset_id", dataset_id)
    if row["dataset_type"] != "difference_image":
        raise NotFoundError(f"{dataset_id[:60]} is no difference image")
    held = await held_file(access, caller, row, "image", make=False)
    require_released([row], access.settings, caller)
    event = DifferenceImageCreated.model_validate(row["event"])
    science = None
    # Not kept here, or not theirs: the difference alone.
    with suppress(RequestError):
        science = (await held_file(access, caller, row, 0)).location
    location = None if held.size is not None else held.location
    return Looked(row, event, location, science)


async def _drawn(
    request: Request, looked: Looked, draw: Callable[[ImagePlanes], bytes]
) -> Response:
    picture = await _worked(request, looked, draw)
    return Response(picture, media_type="image/png", headers=_TILE_HEADERS)


async def _worked[T](request: Request, looked: Looked, work: Callable[[ImagePlanes], T]) -> T:
    access, caller = access_of(request), caller_of(request)
    kept = request.app.state.planes

    async def worked(of: Looked) -> T:
        async with access.cutouts.place(caller.key):
            return await in_thread(partial(work_on, access, kept, of, work))

    try:
        return await worked(looked)
    except WholeNeededError:
        # Made once for all who look at it next.
        held = await held_file(access, caller, looked.row, "image")
    return await worked(replace(looked, location=held.location))


def _positive(request: Request, name: str) -> float | None:
    value = _number(request, name)
    if value is not None and value < 0.0:
        raise UsageError(f"{name} {value:g} is less than 0")
    return value


def _number(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as e:
        raise UsageError(f"{name} {text[:20]!r} is not a number") from e
    if not math.isfinite(value):
        raise UsageError(f"{name} {text[:20]!r} is not finite")
    return value
