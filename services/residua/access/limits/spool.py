"""Answers kept in a file while they are read: the database never waits for a client."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Lock

from residua.access.dali.errors import OverloadError, UsageError

__all__ = ["Spool", "SpoolSpace"]

_CHUNK_BYTES = 1 << 18


class SpoolSpace:
    """Disk that all answers share.

    Parameters
    ----------
    directory
        Where the files lie; they have no names.
    each, together
        Most bytes of one answer, and of all.
    """

    def __init__(self, directory: Path, each: int, together: int) -> None:
        self.directory = directory
        self._each = each
        self._left = together
        self._lock = Lock()

    def take(self, size: int, already: int) -> None:
        """Take bytes for an answer that has so many already; raises `RequestError`."""
        if already + size > self._each:
            raise UsageError(
                f"the answer has more than {self._each} bytes; ask for fewer rows or columns"
            )
        with self._lock:
            if self._left < size:
                raise OverloadError("the disk for answers is full; try again in a minute")
            self._left -= size

    def give_back(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            self._left += size


class Spool:
    """The bytes of one answer: written by a thread, read by the event loop."""

    def __init__(self, space: SpoolSpace) -> None:
        self._space = space
        # Closed by `close`, after writer and reader.
        self._file = tempfile.TemporaryFile(dir=space.directory)  # noqa: SIM115
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._size = 0
        self._ended = False
        self._closed = False
        self._error: Exception | None = None

    def write(self, data: bytes) -> None:
        """Add bytes, from the thread that makes them."""
        self._space.take(len(data), self._size)
        written = 0
        while written < len(data):
            written += os.pwrite(self._file.fileno(), data[written:], self._size + written)
        self._size += len(data)
        self._loop.call_soon_threadsafe(self._changed.set)

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing more comes, from the thread that made it."""
        self._error = error
        self._ended = True
        self._loop.call_soon_threadsafe(self._changed.set)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they come."""
        place = 0
        while True:
            self._changed.clear()
            ended = self._ended
            if place < self._size:
                chunk = os.pread(self._file.fileno(), _CHUNK_BYTES, place)
                place += len(chunk)
                yield chunk
            elif ended:
                if self._error is not None:
                    raise self._error
                return
            else:
                await self._changed.wait()

    def close(self) -> None:
        """Give the disk back; the writer must have ended."""
        if not self._closed:
            self._closed = True
            self._file.close()
            self._space.give_back(self._size)
