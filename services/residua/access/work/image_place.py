"""Where the file of a dataset lies, and whether there is none and it must be made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lsst.resources import ResourcePath

from residua.access.dali.errors import NotFoundError, UnavailableError
from residua.access.work.context import Access
from residua.errors import TransientError, UriNotAllowedError
from residua.storage.moved import moved
from residua.storage.objects import attempt, resolve

__all__ = ["is_let_go", "must_be_made", "place_of"]


def is_let_go(row: Mapping[str, Any]) -> bool:
    """Whether an image's file is gone or may go, as the catalog has it."""
    return row["storage"] in {"expiring", "on demand"}


def must_be_made(access: Access, row: Mapping[str, Any], location: ResourcePath) -> bool:
    """Whether an image has no file. That is taken while it is there, whatever the catalog says."""
    if row["dataset_type"] != "difference_image" or not access.recreations.offered:
        return False
    if location.isLocal:
        return not Path(location.ospath).is_file()
    # What is to be kept is not asked for: readers are sent to the store.
    if not is_let_go(row):
        return False
    try:
        return not attempt(location, location.exists)
    except TransientError as e:
        raise UnavailableError("the store does not answer: ask again") from e


def place_of(access: Access, uri: str) -> ResourcePath:
    """Return where a file lies; raises `NotFoundError` where it lies under no root."""
    try:
        return resolve(moved(uri, access.settings.moved_roots), access.settings.image_roots)
    except UriNotAllowedError as e:
        raise NotFoundError("the file is not kept where this service may read") from e
