"""Bytes of a file by ranges: mapped from a disk, or asked of an object store."""

import math
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from lsst.resources import ResourcePath

from residua.inner_names import bucket
from residua.storage.regions.object_ranges import SignedObject

__all__ = ["Counts", "MemorySource", "Source", "newest"]


@dataclass
class Counts:
    """What reading has taken so far.

    Parameters
    ----------
    files_parsed
        Files whose table of contents was read.
    requests, bytes_fetched
        Ranges of bytes that were asked for, and their bytes.
    tiles_decoded
        Tiles of compressed planes.
    """

    files_parsed: int = 0
    requests: int = 0
    bytes_fetched: int = 0
    tiles_decoded: int = 0

    def __post_init__(self) -> None:
        self._lock = Lock()

    def add(self, *, files: int = 0, requests: int = 0, fetched: int = 0, tiles: int = 0) -> None:
        """Count more."""
        with self._lock:
            self.files_parsed += files
            self.requests += requests
            self.bytes_fetched += fetched
            self.tiles_decoded += tiles


class Source(Protocol):
    """Where the bytes of one version of a file come from.

    Parameters
    ----------
    asked
        When a store was last asked for bytes that came, of this version; monotonic seconds. It had
        that version then.
    """

    asked: float

    def read(self, start: int, stop: int) -> memoryview:
        """Return a range of bytes."""
        ...


class MemorySource:
    """A file whose bytes are at hand."""

    asked = -math.inf

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def read(self, start: int, stop: int) -> memoryview:
        """Return a range of bytes."""
        return self._content[start:stop]


class _LocalFile:
    """A file that is mapped, and stays what it was when another takes its name."""

    asked = -math.inf

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, start: int, stop: int) -> memoryview:
        return memoryview(self._map)[start:stop]


class _S3Object:
    """An object of one version: another under its name is an error."""

    def __init__(self, location: Any, etag: str, size: int) -> None:
        self._location = location
        self._signed = SignedObject(location, "get_object")
        self._etag = etag
        self._size = size
        self.asked = -math.inf

    def read(self, start: int, stop: int) -> memoryview:
        now = time.monotonic()
        span = f"bytes={start}-{min(stop, self._size) - 1}"
        quickly = self._signed.ask({"Range": span, "If-Match": self._etag})
        # A store that does not know If-Match hands out what there is, and says of which version.
        if quickly is not None and quickly.headers.get("ETag") == self._etag:
            self.asked = now
            return memoryview(quickly.content)
        client = self._location.client
        try:
            answer = client.get_object(
                Bucket=bucket(self._location),
                Key=self._location.relativeToPathRoot,
                Range=span,
                IfMatch=self._etag,
            )
        except client.exceptions.ClientError as e:
            raise _named(e, self._location) from e
        self.asked = now
        return memoryview(answer["Body"].read())


def newest(location: ResourcePath) -> tuple[str, Callable[[], Source] | None]:
    """Return what tells this version of a file from others, and a function that opens it.

    Returns
    -------
    version
        Another for other bytes.
    open_source
        `None` for a file that cannot be read by ranges.

    Raises
    ------
    FileNotFoundError
        It is not there.
    """
    if location.isLocal:
        status = os.stat(location.ospath)  # noqa: PTH116
        version = f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"
        return version, (lambda: _LocalFile(location.ospath)) if status.st_size else None
    if location.scheme != "s3":
        return "", None
    etag, size = _head(location)
    return etag, lambda: _S3Object(location, etag, size)


def _head(location: ResourcePath) -> tuple[str, int]:
    place: Any = location
    quickly = _signed_head(place.client, location).ask({})
    if quickly is not None:
        tag, length = quickly.headers.get("ETag"), quickly.headers.get("Content-Length")
        if tag and length:
            return str(tag), int(length)
    try:
        answer = place.client.head_object(Bucket=bucket(place), Key=place.relativeToPathRoot)
    except place.client.exceptions.ClientError as e:
        raise _named(e, location) from e
    return str(answer["ETag"]), int(answer["ContentLength"])


@lru_cache(maxsize=1_024)
def _signed_head(_client: object, location: ResourcePath) -> SignedObject:
    return SignedObject(location, "head_object")


def _named(error: Any, location: ResourcePath) -> OSError:
    code = error.response["Error"]["Code"]
    if code in {"404", "NoSuchKey"}:
        return FileNotFoundError(str(location))
    if code in {"412", "PreconditionFailed"}:
        return OSError(f"{location} was replaced while it was read: ask again")
    return OSError(f"{location}: {error}")
