"""Decoded tiles, kept for the neighbours of a region."""

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy.typing as npt

__all__ = ["Tiles"]


class Tiles:
    """Decoded tiles, the last used first, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[str, str, int], npt.NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, str, int]) -> npt.NDArray[Any] | None:
        """Return a tile, if it is kept."""
        with self._lock:
            tile = self._kept.get(key)
            if tile is not None:
                self._kept.move_to_end(key)
            return tile

    def put(self, key: tuple[str, str, int], tile: npt.NDArray[Any]) -> None:
        """Keep a tile."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = tile
            self._size += tile.nbytes
            while self._size > self._limit:
                _, old = self._kept.popitem(last=False)
                self._size -= old.nbytes
