"""Read an input whole, and believe that it is missing only when its store is there."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lsst.resources import ResourcePath

from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    TransientError,
    UriNotAllowedError,
)
from residua.storage.objects import read_object, resolve, root_of
from residua.storage.waits import waiting_for_store

__all__ = ["checksum_now", "fetch", "require_root"]


def fetch(
    uri: str,
    roots: Sequence[str],
    checksum: str | None,
    *,
    grace: float | None = 0.0,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[bytes, str]:
    """Read the object a URI names, under one of the roots.

    An object that is not there, or has other bytes than announced, is read once more after
    ``grace``: an event may be faster than its file, and a copy may go on while the first bytes
    are read. Then its root is asked: an unmounted directory has no file either.

    Parameters
    ----------
    checksum
        What its bytes must add up to, if known.
    grace
        Seconds before the second reading. `None`: a person asks, and is told at once.
    pause
        Waits for a number of seconds.

    Returns
    -------
    content, checksum
        As `residua.storage.objects.read_object`.

    Raises
    ------
    residua.errors.UriNotAllowedError
        Outside the roots.
    residua.errors.MissingFileError, residua.errors.ChecksumMismatchError
        Also at the second reading, and the root is there.
    residua.errors.TransientError
        The store does not answer, or the root is not there.
    """
    location = resolve(uri, roots)
    try:
        return read_object(location, checksum)
    except (MissingFileError, ChecksumMismatchError):
        if grace is None:
            raise
        require_root(location, roots)
    with waiting_for_store():
        pause(grace)
    try:
        return read_object(location, checksum)
    except MissingFileError:
        # It may have gone between the question and now.
        require_root(location, roots)
        raise


def checksum_now(uri: str, roots: Sequence[str]) -> str:
    """Return the checksum of the object a URI names; empty if it cannot be had."""
    try:
        return read_object(resolve(uri, roots), None)[1]
    except (UriNotAllowedError, MissingFileError):
        return ""


def require_root(location: ResourcePath, roots: Sequence[str]) -> None:
    """Return when the root of a location is there: then what is missing under it is missing.

    A directory that holds nothing counts as a mount point without its file system: who has a
    buffer that may be empty leaves a file in it.

    Raises
    ------
    residua.errors.TransientError
        It is not.
    """
    root = root_of(location, roots)
    if root is None:
        return
    if root.isLocal:
        folder = Path(root.ospath)
        with waiting_for_store():
            try:
                there = any(folder.iterdir())
            except OSError as e:
                raise TransientError(
                    f"the root {folder} is not there ({e}): what is missing under it may be an "
                    "unmounted file system's"
                ) from e
        if not there:
            raise TransientError(
                f"the root {folder} is empty, as a mount point without its file system is; mount "
                "it, or leave any file in a root that may be empty"
            )
    elif root.scheme == "s3":
        _require_bucket(root)


def _require_bucket(root: ResourcePath) -> None:
    # Type narrowing would need the class: its import needs boto3.
    client, bucket = root.client, root.netloc  # type: ignore[attr-defined, unused-ignore]
    try:
        with waiting_for_store():
            client.head_bucket(Bucket=bucket.rpartition("@")[2])
    except Exception as e:
        response = getattr(e, "response", None) or {}
        if str(response.get("Error", {}).get("Code", "")) in {"403", "AccessDenied"}:
            # It is there; these credentials may read objects and not the bucket.
            return
        raise TransientError(
            f"the bucket {bucket} is not there or does not answer: {type(e).__name__}: {e}"
        ) from e
