"""Files that were read by parts lately: their tables of contents, and tiles decoded of them."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from lsst.resources import ResourcePath

from residua.storage.regions.byte_ranges import Counts, newest
from residua.storage.regions.tiles import Tiles

if TYPE_CHECKING:
    # At run time it loads astropy and numba, for which a service would wait to start.
    from residua.storage.regions.open_file import OpenFile

__all__ = ["FileCache"]

_FILES_KEPT = 256
_TILE_CACHE_BYTES = 1 << 27


class FileCache:
    """Files that were read by parts lately.

    Parameters
    ----------
    tile_bytes
        Most bytes of decoded tiles that are kept.
    """

    def __init__(self, tile_bytes: int = _TILE_CACHE_BYTES) -> None:
        self.counts = Counts()
        self._tiles = Tiles(tile_bytes)
        self._kept: OrderedDict[str, OpenFile | None] = OrderedDict()
        self._newest: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = Lock()

    def get(self, location: ResourcePath) -> "OpenFile | None":
        """Return a file as it is now; `None` for one that must be read in another way.

        Raises
        ------
        FileNotFoundError
            It is not there.
        """
        from residua.storage.regions.open_file import OpenFile, UnknownFormError

        version, open_source = newest(location)
        key = f"{location} {version}"
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            found = (
                None
                if open_source is None
                else OpenFile(open_source(), key, self._tiles, self.counts)
            )
            self.counts.add(files=1)
        except (UnknownFormError, KeyError, ValueError):
            found = None
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _FILES_KEPT:
                self._kept.popitem(last=False)
        return found

    def use[T](self, location: ResourcePath, make: "Callable[[OpenFile], T]") -> T | None:
        """Make something of a file as it is now; `None` for one that must be read in another way.

        A store is asked whether the file is still the one that is kept only where nothing of it
        had to be fetched meanwhile: bytes come of the version that is asked for, or not at all.

        Parameters
        ----------
        make
            May be called twice. What it raises is raised.

        Raises
        ------
        FileNotFoundError
            The file is not there.
        """
        began = time.monotonic()
        with self._lock:
            kept = self._newest.get(str(location))
        if kept is not None:
            try:
                made = make(kept)
            except OSError:
                # Replaced or taken away meanwhile, or out of reach: asked for below.
                kept = None
            else:
                if kept.source.asked >= began:
                    return made
        file = self.get(location)
        if file is None:
            return None
        if file is kept:
            return made
        with self._lock:
            self._newest[str(location)] = file
            self._newest.move_to_end(str(location))
            while len(self._newest) > _FILES_KEPT:
                self._newest.popitem(last=False)
        return make(file)
