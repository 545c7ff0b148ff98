"""Bytes of a file by ranges: mapped from a disk, or asked of an object store."""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from lsst.resources import ResourcePath

from residua.inner_names import bucket

__all__ = ["Counts", "Source", "newest"]


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
    """Where the bytes of one version of a file come from."""

    def read(self, start: int, stop: int) -> memoryview:
        """Return a range of bytes."""
        ...


class _LocalFile:
    """A file that is mapped, and stays what it was when another takes its name."""

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, start: int, stop: int) -> memoryview:
        return memoryview(self._map)[start:stop]


class _S3Object:
    """An object of one version: another under its name is an error."""

    def __init__(self, location: Any, etag: str, size: int) -> None:
        self._location = location
        self._etag = etag
        self._size = size

    def read(self, start: int, stop: int) -> memoryview:
        answer = self._location.client.get_object(
            Bucket=bucket(self._location),
            Key=self._location.relativeToPathRoot,
            Range=f"bytes={start}-{min(stop, self._size) - 1}",
            IfMatch=self._etag,
        )
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
    place: Any = location
    try:
        answer = place.client.head_object(Bucket=bucket(place), Key=place.relativeToPathRoot)
    except place.client.exceptions.ClientError as e:
        if e.response["Error"]["Code"] in {"404", "NoSuchKey"}:
            raise FileNotFoundError(str(location)) from e
        raise OSError(f"{location}: {e}") from e
    etag, size = str(answer["ETag"]), int(answer["ContentLength"])
    return etag, lambda: _S3Object(place, etag, size)
