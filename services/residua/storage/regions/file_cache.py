"""Files that were read by parts lately: their tables of contents, and tiles decoded of them."""

from collections import OrderedDict
from threading import Lock

from lsst.resources import ResourcePath

from residua.storage.regions.byte_ranges import Counts, newest
from residua.storage.regions.open_file import OpenFile, UnknownFormError
from residua.storage.regions.tiles import Tiles

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
        self._lock = Lock()

    def get(self, location: ResourcePath) -> OpenFile | None:
        """Return a file as it is now; `None` for one that must be read in another way.

        Raises
        ------
        FileNotFoundError
            It is not there.
        """
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
