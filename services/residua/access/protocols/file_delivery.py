"""Delivering files: signed URLs of an object store, or local files with range requests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from lsst.resources import ResourcePath

from residua.access.dali.errors import NotFoundError
from residua.access.limits.places import in_thread
from residua.access.protocols.signed_urls import signed_url
from residua.access.rights.release import may_see_all, released, require_released
from residua.access.rights.tokens import Caller
from residua.access.work.context import Access, access_of, caller_of
from residua.access.work.image_place import must_be_made, place_of
from residua.identity import visit_image_dataset_id
from residua_schemas import VisitDetector

__all__ = [
    "HeldFile",
    "Part",
    "dataset_of",
    "datasets_of",
    "deliver",
    "detections_uri",
    "held_file",
    "no_dataset",
    "progenitor_id",
    "router",
]

router = APIRouter(tags=["Files"])


@dataclass(frozen=True)
class HeldFile:
    """A file that this caller may have.

    Parameters
    ----------
    location
        Under one of the roots, or where it was made again.
    size
        Of one that would have to be made again and was not: bytes.
    """

    location: ResourcePath
    media_type: str
    size: int | None = None


type Part = Literal["image", "preview", "detections"] | int
"""What of a dataset: its FITS file, its preview, its detections, or the progenitor of a number."""


@router.head("/images/{dataset_id}", summary="FITS file", include_in_schema=False)
@router.get("/images/{dataset_id}", summary="FITS file")
async def image(request: Request, dataset_id: str) -> Response:
    """Return a FITS file, or redirect to where it is; its name may end in ``.fits``."""
    # Readers that choose by the ending of an address, as lsst.images does, need one.
    return await _hand_out(request, dataset_id.removesuffix(".fits"), "image")


@router.head("/previews/{dataset_id}", summary="Preview", include_in_schema=False)
@router.get("/previews/{dataset_id}", summary="Preview")
async def preview(request: Request, dataset_id: str) -> Response:
    """Return the preview picture, or redirect to where it is."""
    return await _hand_out(request, dataset_id, "preview")


@router.head(
    "/images/{dataset_id}/progenitors/{number}",
    summary="What an image was made of",
    include_in_schema=False,
)
@router.get("/images/{dataset_id}/progenitors/{number}", summary="What an image was made of")
async def progenitor(request: Request, dataset_id: str, number: str) -> Response:
    """Return a file that the image was made of, or redirect to where it is."""
    text = number.removesuffix(".fits")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise NotFoundError(f"{number[:20]!r} is not the number of a progenitor")
    return await _hand_out(request, dataset_id, int(text))


@router.head("/detections/{dataset_id}", summary="Detections on an image", include_in_schema=False)
@router.get("/detections/{dataset_id}", summary="Detections on an image")
async def detections(request: Request, dataset_id: str) -> Response:
    """Return the detections on an image as Parquet, or redirect to where they are."""
    return await _hand_out(request, dataset_id.removesuffix(".parquet"), "detections")


async def dataset_of(
    access: Access, caller: Caller, name: Literal["obs_publisher_did", "dataset_id"], value: str
) -> Mapping[str, Any]:
    """Return the row of a dataset, by one of its identifiers; raises `NotFoundError`."""
    found = (await datasets_of(access, caller, name, [value])).get(value)
    if found is None:
        raise no_dataset(value)
    return found


async def datasets_of(
    access: Access,
    caller: Caller,
    name: Literal["obs_publisher_did", "dataset_id"],
    values: Sequence[str],
) -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of those of these datasets that there are, and that the caller may see."""
    # A null byte is in no dataset's name, and databases refuse it.
    asked = [value for value in values if "\0" not in value]
    rows = await in_thread(partial(access.catalog.datasets, name, asked)) if asked else {}
    return {value: row for value, row in rows.items() if _listed(row, access, caller)}


def no_dataset(value: str) -> NotFoundError:
    """Say that there is none of this name."""
    if "\0" in value:
        return NotFoundError("no dataset has a null byte in its name")
    return NotFoundError(f"no dataset {value[:200]}")


async def held_file(
    access: Access, caller: Caller, row: Mapping[str, Any], part: Part, *, make: bool = True
) -> HeldFile:
    """Decide whether a caller may have a file, and find it: the one way to any bytes.

    An image that is not kept is made again, unless ``make`` is false: then only its size is told.

    A file has the rights of its own dataset's row as well as those of the row it is reached by.

    Raises
    ------
    ForbiddenError
        The token lacks a scope, or the pixels are not public yet.
    NotFoundError
        There is no such file, or it lies under no root.
    GoneError, UnavailableError, OverloadError
        It would have to be made again, and cannot be.
    """
    caller.require(access.settings.read_scope)
    require_released([row], access.settings, caller)
    uri, media_type = row["uri"], "application/fits"
    if part == "preview":
        uri, media_type = row["preview_uri"], "image/png"
        if uri is None:
            raise NotFoundError(f"dataset {row['dataset_id']} has no preview")
    elif part == "detections":
        uri, media_type = detections_uri(row), "application/vnd.apache.parquet"
        if uri is None:
            raise NotFoundError(f"dataset {row['dataset_id']} has no table of detections")
    elif isinstance(part, int):
        progenitors = row["progenitors"]
        if not 0 <= part < len(progenitors):
            raise NotFoundError(f"dataset {row['dataset_id']} has {len(progenitors)} progenitors")
        uri = progenitors[part]["uri"]
        identity = progenitor_id(row, progenitors[part])
        related = await to_thread.run_sync(access.catalog.related, [identity])
        require_released(related, access.settings, caller)
    location, missing = await in_thread(partial(_found, access, row, str(uri), part))
    if not missing:
        return HeldFile(location, media_type)
    kept = partial(access.recreations.kept, row, surely=make)
    found = await to_thread.run_sync(kept)
    if found is None and not make:
        return HeldFile(location, media_type, row["size_bytes"])
    found = found or await access.recreations.make(row, caller.key)
    return HeldFile(found, media_type)


def _found(
    access: Access, row: Mapping[str, Any], uri: str, part: Part
) -> tuple[ResourcePath, bool]:
    """Return where a file is, and whether it must be made first."""
    location = place_of(access, uri)
    return location, part == "image" and must_be_made(access, row, location)


def detections_uri(row: Mapping[str, Any]) -> str | None:
    """Return where the detections on an image are, if they were written."""
    reference = row["event"].get("detections")
    return None if reference is None else str(reference["uri"])


def progenitor_id(row: Mapping[str, Any], progenitor: Mapping[str, Any]) -> str:
    """Return the identity of the dataset a progenitor's file belongs to."""
    if "dataset_id" in progenitor:
        return str(progenitor["dataset_id"])
    visit_detector = VisitDetector(
        instrument=row["instrument_name"], visit=row["lsst_visit"], detector=row["lsst_detector"]
    )
    return str(visit_image_dataset_id(visit_detector))


def _listed(row: Mapping[str, Any], access: Access, caller: Caller) -> bool:
    settings = access.settings
    return settings.list_unreleased or may_see_all(settings, caller) or released(row, settings)


async def _hand_out(request: Request, dataset_id: str, part: Part) -> Response:
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    row = await dataset_of(access, caller, "dataset_id", dataset_id)
    make = request.method != "HEAD"
    return await deliver(request, await held_file(access, caller, row, part, make=make))


async def deliver(request: Request, held: HeldFile) -> Response:
    """Answer with a file, or with where it is; 304 if the client has it already."""
    if held.size is not None:
        headers = {"Content-Length": str(held.size)}
        return Response(media_type=held.media_type, headers=headers)
    if held.location.isLocal:
        path = Path(held.location.ospath)
        if not await asyncio.to_thread(path.is_file):
            raise NotFoundError("the file is not there any more")
        status = await asyncio.to_thread(path.stat)
        response = FileResponse(
            path, media_type=held.media_type, filename=path.name, stat_result=status
        )
        tag = response.headers["etag"]
        if _has(request, tag):
            return Response(status_code=304, headers={"ETag": tag})
        return response
    seconds = access_of(request).settings.signed_url_seconds
    operation = "head_object" if request.method == "HEAD" else "get_object"
    # Stores guess: FITS begins as a text does.
    url = await to_thread.run_sync(signed_url, held.location, operation, seconds, held.media_type)
    return RedirectResponse(url, status_code=307)


def _has(request: Request, tag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    tags = {word.strip().removeprefix("W/") for word in known.split(",")}
    return known.strip() == "*" or tag in tags
