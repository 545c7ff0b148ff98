"""Images whose files are not kept: made again in processes of our own, once for all who ask."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import structlog

from residua.access.dali.errors import GoneError, OverloadError, UnavailableError
from residua.access.limits.places import Places
from residua.access.settings import AccessSettings
from residua.errors import ResiduaError, TransientError
from residua.storage.regions.file_cache import FileCache

if TYPE_CHECKING:
    # At run time it would load numba into the service, which needs it once it makes parts.
    from residua.recreation import RecreationSettings, Recreator
    from residua.recreation.partial.parts import PartialImages
    from residua.recreation.partial.remade import RemadeFile

__all__ = ["Recreations"]

_log = structlog.get_logger(__name__)
_recreators: list["Recreator"] = []


class Recreations:
    """Makes images and keeps them for a while under their own names.

    Parameters
    ----------
    settings
        ``concurrent_recreations`` processes make one image each; ``waiting_recreations`` wait.
    directory
        Where files are kept, up to ``recreated_bytes``; shared by all replicas, or each its own.
    observe
        Told what came of each: ``made``, ``part``, or the name of an error.
    files
        Tables and tiles of inputs that were read by parts, shared with whoever reads stored files.
    """

    def __init__(
        self,
        settings: AccessSettings,
        directory: Path,
        observe: Callable[[str], None],
        files: FileCache | None = None,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._observe = observe
        # Nobody may take all of them; who waits longer than for a job has gone.
        number = max(1, settings.concurrent_recreations)
        self._places = Places("recreations", number, settings.async_seconds)
        self._running: dict[str, asyncio.Task[Path]] = {}
        self._executor: ProcessPoolExecutor | None = None
        self._files = files
        self._parts: PartialImages | None = None
        self._opening = Lock()

    @property
    def offered(self) -> bool:
        """Whether images are made again here."""
        return self._settings.concurrent_recreations > 0

    def kept(self, row: Mapping[str, Any]) -> Path | None:
        """Return the file of an image if it was made lately."""
        path = self._directory / _name(row)
        try:
            # What was asked for last goes last.
            os.utime(path)
        except OSError:
            return None
        return path

    def part_of(self, row: Mapping[str, Any]) -> "RemadeFile | None":
        """Open an image of which parts can be made here, in this process; blocks.

        Returns
        -------
        file
            `None` for one that must be made whole.

        Raises
        ------
        GoneError, UnavailableError
            As for `make`.
        """
        from residua.recreation.partial.parts import NotInPartsError, PartialImages
        from residua_schemas import DifferenceImageCreated

        with self._opening:
            if self._parts is None:
                settings = _recreation_settings(self._settings)
                self._parts = PartialImages(settings, self._files, self._hollow)
        with self.speaking_of(row["dataset_id"]):
            try:
                return self._parts.open(DifferenceImageCreated.model_validate(row["event"]))
            except NotInPartsError as e:
                _log.info("image_not_in_parts", dataset_id=row["dataset_id"], reason=str(e))
                return None

    def counted(self, result: str) -> None:
        """Count what came of an image, or of a part of one."""
        self._observe(result)

    def _hollow(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except OSError:
            return None

    @contextmanager
    def speaking_of(self, dataset_id: str) -> Iterator[None]:
        """Turn errors of making an image into those of a request; names of places into the log."""
        try:
            yield
        except ResiduaError as e:
            self._observe(type(e).__name__)
            # Names of places are not for everybody.
            _log.warning("image_not_made", dataset_id=dataset_id, error=e.message)
            raise GoneError(
                f"the image is not stored and cannot be made again as it was: "
                f"{type(e).__name__}; the operator's log says more"
            ) from e
        except (TransientError, BrokenProcessPool, MemoryError) as e:
            self._observe(type(e).__name__)
            self._executor = None if isinstance(e, BrokenProcessPool) else self._executor
            _log.warning("image_not_made", dataset_id=dataset_id, error=str(e))
            raise UnavailableError("the image cannot be made again just now: ask again") from e

    async def make(self, row: Mapping[str, Any], caller: str) -> Path:
        """Make an image again, or wait for whoever is making it.

        Parameters
        ----------
        row
            Of the image; its event says how it was made.
        caller
            Whose place it takes, see `Places`.

        Raises
        ------
        GoneError
            It cannot be made as it was: the message names the error.
        OverloadError
            Too many wait already.
        UnavailableError
            It takes longer than a request may, and goes on; or a store does not answer.
        """
        found = await asyncio.to_thread(self.kept, row)
        if found is not None:
            return found
        name = _name(row)
        task = self._running.get(name)
        if task is None:
            if len(self._running) >= self._settings.waiting_recreations:
                raise OverloadError(
                    f"{len(self._running)} images are being made again; try again in a minute"
                )
            task = asyncio.create_task(self._made(row, caller))
            self._running[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))
        seconds = self._settings.sync_seconds
        try:
            # Who goes away leaves the work to those who wait for it too, or ask again.
            return await asyncio.wait_for(asyncio.shield(task), seconds)
        except TimeoutError as e:
            raise UnavailableError(
                f"the image is being made again and takes more than {seconds:g} s: ask again"
            ) from e

    async def stop(self) -> None:
        """End what is under way."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _ended(self, name: str, task: asyncio.Task[Path]) -> None:
        del self._running[name]
        if not task.cancelled():
            # Seen, also when nobody waits any more.
            task.exception()

    async def _made(self, row: Mapping[str, Any], caller: str) -> Path:
        from pydantic_core import to_json

        event = row["event"]
        text = event if isinstance(event, str) else to_json(event).decode()
        with self.speaking_of(row["dataset_id"]):
            async with self._places.place(caller):
                loop = asyncio.get_running_loop()
                path = await loop.run_in_executor(self._pool(), _make, text)
        self._observe("made")
        await asyncio.to_thread(self._make_room, path)
        return path

    def _pool(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=self._settings.concurrent_recreations,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_initialize,
                initargs=(self._settings, self._directory),
            )
        return self._executor

    def _make_room(self, newest: Path) -> None:
        """Remove what was not asked for longest; who reads a file reads on."""
        files = [
            (p.stat().st_mtime_ns, p.stat().st_size, p)
            for p in self._directory.glob("*.*")
            if p.suffix in {".fits", ".hollow"}
        ]
        size = sum(one[1] for one in files)
        for _, bytes_, path in sorted(files):
            if size <= self._settings.recreated_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                size -= bytes_


def _name(row: Mapping[str, Any]) -> str:
    return PurePosixPath(unquote(urlsplit(str(row["uri"])).path)).name


def _initialize(settings: AccessSettings, directory: Path) -> None:
    from residua.recreation import Recreator

    _recreators[:] = [Recreator(_recreation_settings(settings), directory)]


def _recreation_settings(settings: AccessSettings) -> "RecreationSettings":
    from residua.recreation import RecreationSettings

    roots = (*settings.image_roots, *settings.input_roots, *settings.template_roots)
    return RecreationSettings(
        input_roots=roots,
        template_roots=roots,
        moved_roots=settings.moved_roots,
        instrument_directories=settings.instrument_directories,
        threads=1,
    )


def _make(event: str) -> Path:
    from residua.subtraction.errors import SubtractionError
    from residua_schemas import DifferenceImageCreated

    [recreator] = _recreators
    try:
        made = recreator.as_made(DifferenceImageCreated.model_validate_json(event))
    except SubtractionError as e:
        # It came out once: another error now is another result.
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
