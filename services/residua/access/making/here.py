"""Whole images made in processes of this service, kept in a directory of its own."""

import asyncio
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsst.resources import ResourcePath

from residua.access.making.maker import Progress, name_of
from residua.access.settings import AccessSettings
from residua.errors import ResiduaError

if TYPE_CHECKING:
    # At run time it would load numba into the service, which needs it once it makes parts.
    from residua.recreation import RecreationSettings, Recreator

__all__ = ["MadeHere", "let_oldest_go", "recreation_settings"]

_recreators: list["Recreator"] = []


class MadeHere:
    """Makes images in ``concurrent_recreations`` processes, one each.

    Parameters
    ----------
    settings
        Where inputs may be read, and how many bytes of images are kept.
    directory
        Where files are kept; shared by all replicas, or each its own.
    """

    def __init__(self, settings: AccessSettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._executor: ProcessPoolExecutor | None = None

    def kept(self, row: Mapping[str, Any], *, surely: bool) -> ResourcePath | None:
        """Return where an image lies that was made lately, see `Maker`."""
        del surely
        path = self._directory / name_of(row)
        try:
            # What was asked for last goes last.
            os.utime(path)
        except OSError:
            return None
        return ResourcePath(str(path))

    async def make(self, row: Mapping[str, Any], progress: Progress) -> ResourcePath:
        """Make an image, see `Maker`."""
        from pydantic_core import to_json

        event = row["event"]
        text = event if isinstance(event, str) else to_json(event).decode()
        progress("being made")
        loop, pool = asyncio.get_running_loop(), self._pool()
        try:
            path = await loop.run_in_executor(pool, _make, text)
        except BrokenProcessPool:
            # All that were under way come here; the next one may have opened another by then.
            if self._executor is pool:
                self._executor = None
            raise
        await asyncio.to_thread(
            let_oldest_go, self._directory, path, self._settings.recreated_bytes
        )
        return ResourcePath(str(path))

    async def stop(self) -> None:
        """End what is under way."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _pool(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=self._settings.concurrent_recreations,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_initialize,
                initargs=(self._settings, self._directory),
            )
        return self._executor


def let_oldest_go(directory: Path, newest: Path, most: int) -> None:
    """Remove what was not asked for longest; who reads a file reads on.

    Parameters
    ----------
    newest
        Stays in any case.
    most
        Bytes of all images, and of the hollow files beside them.
    """
    files = []
    for path in directory.glob("*.*"):
        if path.suffix in {".fits", ".hollow"}:
            # Another replica, or another thread, makes room as well.
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
    size = sum(one[1] for one in files)
    for _, bytes_, path in sorted(files):
        if size <= most:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            size -= bytes_


def recreation_settings(settings: AccessSettings) -> "RecreationSettings":
    """Return the settings of a recreation that may read what this service may."""
    from residua.recreation import RecreationSettings

    roots = (*settings.image_roots, *settings.input_roots, *settings.template_roots)
    return RecreationSettings(
        input_roots=roots,
        template_roots=roots,
        moved_roots=settings.moved_roots,
        instrument_directories=settings.instrument_directories,
        threads=1,
    )


def _initialize(settings: AccessSettings, directory: Path) -> None:
    from residua.recreation import Recreator

    _recreators[:] = [Recreator(recreation_settings(settings), directory)]


def _make(event: str) -> Path:
    from residua.subtraction.errors import SubtractionError
    from residua_schemas import DifferenceImageCreated

    [recreator] = _recreators
    try:
        made = recreator.as_made(DifferenceImageCreated.model_validate_json(event))
    except SubtractionError as e:
        # It came out once: an error now is another result.
        raise ResiduaError(f"{type(e).__name__}: {e}") from e
    # The worker's own is kept.
    made.detections.unlink(missing_ok=True)
    if made.hollow is not None:
        # So that parts of it can be made, also when the whole is gone.
        beside = made.path.with_suffix(".hollow")
        partial = beside.with_suffix(".part")
        partial.write_bytes(made.hollow)
        partial.replace(beside)
    return made.path
