"""Delivering files: signed URLs of an object store, or local files with range requests."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from lsst.resources import ResourcePath

from residua.access.dali.errors import NotFoundError, RequestError
from residua.access.rights.release import require_released
from residua.access.work.context import Access, access_of, caller_of
from residua.errors import UriNotAllowedError
from residua.storage.objects import resolve

__all__ = ["dataset_of", "located", "router"]

router = APIRouter(tags=["Files"])


@router.head("/images/{dataset_id}", summary="FITS file", include_in_schema=False)
@router.get("/images/{dataset_id}", summary="FITS file")
async def image(request: Request, dataset_id: str) -> Response:
    """Return a FITS file, or redirect to where it is."""
    row = await _released(request, dataset_id)
    return await _deliver(access_of(request), str(row["uri"]), "application/fits")


@router.head("/previews/{dataset_id}", summary="Preview", include_in_schema=False)
@router.get("/previews/{dataset_id}", summary="Preview")
async def preview(request: Request, dataset_id: str) -> Response:
    """Return the preview picture, or redirect to where it is."""
    row = await _released(request, dataset_id)
    if row["preview_uri"] is None:
        raise NotFoundError(f"dataset {dataset_id[:64]} has no preview")
    return await _deliver(access_of(request), str(row["preview_uri"]), "image/png")


@router.head(
    "/images/{dataset_id}/progenitors/{number}",
    summary="What an image was made of",
    include_in_schema=False,
)
@router.get("/images/{dataset_id}/progenitors/{number}", summary="What an image was made of")
async def progenitor(request: Request, dataset_id: str, number: int) -> Response:
    """Return a file that the image was made of, or redirect to where it is."""
    row = await _released(request, dataset_id)
    progenitors = row["progenitors"]
    if not 0 <= number < len(progenitors):
        raise NotFoundError(f"dataset {dataset_id[:64]} has {len(progenitors)} progenitors")
    return await _deliver(access_of(request), str(progenitors[number]["uri"]), "application/fits")


async def dataset_of(
    access: Access, name: Literal["obs_publisher_did", "dataset_id"], value: str
) -> Mapping[str, Any]:
    """Return the row of a dataset, by one of its identifiers; raises `NotFoundError`."""
    if "\0" in value:
        raise NotFoundError("no dataset has a null byte in its name")
    row = await to_thread.run_sync(access.catalog.dataset, name, value)
    if row is None:
        raise NotFoundError(f"no dataset {value[:200]}")
    return row


def located(access: Access, uri: str) -> ResourcePath:
    """Return where a file is, if it lies under a root that may be delivered from."""
    try:
        return resolve(uri, access.settings.image_roots)
    except UriNotAllowedError as e:
        raise NotFoundError("the file is not kept where this service may read") from e


async def _released(request: Request, dataset_id: str) -> Mapping[str, Any]:
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    row = await dataset_of(access, "dataset_id", dataset_id)
    require_released(row, access.settings, caller)
    return row


async def _deliver(access: Access, uri: str, media_type: str) -> Response:
    location = await to_thread.run_sync(located, access, uri)
    if location.isLocal:
        path = Path(location.ospath)
        if not await asyncio.to_thread(path.is_file):
            raise NotFoundError("the file is not there any more")
        return FileResponse(path, media_type=media_type, filename=path.name)
    try:
        url = await to_thread.run_sync(
            lambda: location.generate_presigned_get_url(
                expiration_time_seconds=access.settings.signed_url_seconds
            )
        )
    except NotImplementedError as e:
        raise RequestError(f"files cannot be delivered from {location.scheme}://") from e
    return RedirectResponse(url, status_code=307)
