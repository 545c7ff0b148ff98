"""Images whose files are not kept: made again, once for all who ask, or in parts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import structlog
from lsst.resources import ResourcePath

from residua.access.dali.errors import GoneError, OverloadError, UnavailableError
from residua.access.limits.places import Places
from residua.access.making.by_workers import MadeByWorkers
from residua.access.making.here import MadeHere, recreation_settings
from residua.access.making.maker import Maker, name_of
from residua.access.settings import AccessSettings
from residua.errors import ResiduaError, TransientError
from residua.storage.regions.file_cache import FileCache

if TYPE_CHECKING:
    # At run time it would load numba into the service, which needs it once it makes parts.
    from residua.recreation.partial.parts import PartialImages
    from residua.recreation.partial.remade import RemadeFile

__all__ = ["Recreations"]

_log = structlog.get_logger(__name__)


class Recreations:
    """Has images made that are kept for a while under their own names.

    Each is made once for all who ask. So many are under way at once, half of them for one caller
    at most; ``waiting_recreations`` are under way or wait, again half of them of one caller.

    Parameters
    ----------
    settings
        Who makes whole images, and how many at once.
    directory
        Where files are kept that are made here; shared by all replicas, or each its own.
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
        by_workers = settings.recreate_by == "workers"
        self._maker: Maker = (
            MadeByWorkers(settings) if by_workers else MadeHere(settings, directory)
        )
        number = settings.requested_recreations if by_workers else settings.concurrent_recreations
        # Who waits longer than for a job has gone.
        self._places = Places("recreations", max(1, number), settings.async_seconds)
        self._running: dict[str, asyncio.Task[ResourcePath]] = {}
        self._progress: dict[str, str] = {}
        self._of: Counter[str] = Counter()
        self._files = files
        self._parts: PartialImages | None = None
        self._opening = Lock()

    @property
    def offered(self) -> bool:
        """Whether images are made again."""
        settings = self._settings
        return settings.recreate_by == "workers" or settings.concurrent_recreations > 0

    def kept(self, row: Mapping[str, Any], *, surely: bool = True) -> ResourcePath | None:
        """Return where an image lies if it was made lately; see `Maker.kept`."""
        return self._maker.kept(row, surely=surely)

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
                settings = recreation_settings(self._settings)
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

    def progress(self, row: Mapping[str, Any]) -> str | None:
        """Return in words how far an image is that is being made."""
        return self._progress.get(name_of(row))

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
            name = getattr(e, "named", type(e).__name__)
            self._observe(name)
            # Names of places are not for everybody.
            _log.warning("image_not_made", dataset_id=dataset_id, error=e.message)
            raise GoneError(
                f"the image is not stored and cannot be made again as it was: "
                f"{name}; the operator's log says more"
            ) from e
        except (TransientError, BrokenProcessPool, MemoryError) as e:
            self._observe(type(e).__name__)
            _log.warning("image_not_made", dataset_id=dataset_id, error=str(e))
            raise UnavailableError("the image cannot be made again just now: ask again") from e

    async def make(
        self, row: Mapping[str, Any], caller: str, seconds: float | None = None
    ) -> ResourcePath:
        """Have an image made again, or wait for whoever is making it.

        Parameters
        ----------
        row
            Of the image; its event says how it was made.
        caller
            Whose place it takes, see `Places`.
        seconds
            Longest wait; by default that of a request.

        Raises
        ------
        GoneError
            It cannot be made as it was: the message names the error.
        OverloadError
            Too many wait already, of all or of this caller.
        UnavailableError
            It takes longer than that, and goes on; or a store does not answer.
        """
        found = await asyncio.to_thread(partial(self.kept, row))
        if found is not None:
            return found
        name = name_of(row)
        task = self._running.get(name)
        if task is None:
            self._require_room(caller)
            task = asyncio.create_task(self._made(row, caller))
            self._running[name] = task
            self._of[caller] += 1
            task.add_done_callback(lambda done: self._ended(name, caller, done))
        seconds = seconds or self._settings.sync_seconds
        try:
            # Who goes away leaves the work to those who wait for it too, or ask again.
            return await asyncio.wait_for(asyncio.shield(task), seconds)
        except TimeoutError as e:
            raise UnavailableError(
                f"the image is being made again and takes more than {seconds:g} s: ask again, or "
                "have a job wait for it (POST /recreations with ID and PHASE=RUN)"
            ) from e

    async def stop(self) -> None:
        """End what is under way."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._maker.stop()

    def _require_room(self, caller: str) -> None:
        most = self._settings.waiting_recreations
        if len(self._running) >= most:
            raise OverloadError(
                f"{len(self._running)} images are being made again; try again in a minute"
            )
        if self._of[caller] >= (most + 1) // 2:
            raise OverloadError(
                f"{self._of[caller]} images are being made again for you; come back when they are "
                "done"
            )

    def _ended(self, name: str, caller: str, task: asyncio.Task[ResourcePath]) -> None:
        del self._running[name]
        self._progress.pop(name, None)
        self._of[caller] -= 1
        if not self._of[caller]:
            del self._of[caller]
        if not task.cancelled():
            # Seen, also when nobody waits any more.
            task.exception()

    async def _made(self, row: Mapping[str, Any], caller: str) -> ResourcePath:
        name = name_of(row)

        def progress(words: str) -> None:
            self._progress[name] = words

        progress("waiting for a place")
        with self.speaking_of(row["dataset_id"]):
            async with self._places.place(caller):
                place = await self._maker.make(row, progress)
        self._observe("made")
        return place
