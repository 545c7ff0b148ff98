"""FITS files parsed once: where their planes lie, kept by place and version of the object."""

import mmap
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS
from lsst.resources import ResourcePath

from residua.access.cutouts.stencils import PixelBox
from residua.inner_names import bucket
from residua.storage.forms.decode import TileTable, decode_tile, tile_table

__all__ = ["FileCache", "OpenFile", "Plane", "UnknownFormError"]

_BLOCK = 2880
_CARD = 80
# Header, table and index of a file usually lie within this.
_HEAD_BYTES = 1 << 16
_FILES_KEPT = 256
_TILE_CACHE_BYTES = 1 << 27


class UnknownFormError(Exception):
    """The file is not of the form that is read here; others read it, more slowly."""


class _Source(Protocol):
    def read(self, start: int, stop: int) -> memoryview: ...


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


@dataclass(frozen=True)
class Plane:
    """An image plane.

    Parameters
    ----------
    header
        As it stands in the file.
    table
        Of a compressed plane.
    data_start
        Where its data begin in the file.
    """

    name: str
    header: fits.Header
    table: TileTable | None
    data_start: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        if self.table is not None:
            return self.table.shape
        return self.header["NAXIS2"], self.header["NAXIS1"]

    @cached_property
    def cards(self) -> tuple[str, ...]:
        """The image's own cards, without those that say how it is stored."""
        lines = _lines(self.header.tostring(endcard=False, padding=False))
        return tuple(line for line in lines if not _structural(line, self.table is not None))


@dataclass
class OpenFile:
    """A file, as far as it was looked at.

    Raises `UnknownFormError` where it is not written by ``lsst.images``, in the layout of its
    first format version.
    """

    source: _Source
    version: str
    tiles: "_Tiles"
    primary: fits.Header = field(init=False)
    _places: Mapping[str, tuple[int, int]] = field(init=False)
    _planes: dict[str, Plane] = field(default_factory=dict)
    tree: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._head = self.source.read(0, _HEAD_BYTES)
        self.primary, _ = self._header(0)
        if self.primary.get("FMTVER") != 1 or "JSONADDR" not in self.primary:
            raise UnknownFormError
        start = self.primary["JSONADDR"]
        stop = self.primary["INDXADDR"] + self.primary["INDXSIZE"]
        if self.primary["INDXADDR"] != start + self.primary["JSONSIZE"]:
            raise UnknownFormError
        tail = bytes(self.source.read(start, stop))
        self._read_tail(tail, self.primary["JSONSIZE"])

    def _read_tail(self, tail: bytes, json_size: int) -> None:
        from pydantic_core import from_json

        json_header, json_data = _header_of(tail, 0)
        if json_header["NAXIS2"] != 1:
            # Parts of the tree by reference.
            raise UnknownFormError
        length, offset = np.frombuffer(tail, ">i4", count=2, offset=json_data)
        begin = json_data + json_header["NAXIS1"] + int(offset)
        self.tree = from_json(tail[begin : begin + int(length)])
        header, data = _header_of(tail, json_size)
        fields = [
            (header[f"TTYPE{n}"], _numpy_type(header[f"TFORM{n}"].strip()))
            for n in range(1, header["TFIELDS"] + 1)
        ]
        rows = np.frombuffer(tail, np.dtype(fields), count=header["NAXIS2"], offset=data)
        self._places = {
            row["EXTNAME"].decode().strip(" \0"): (int(row["HDRADDR"]), int(row["DATADDR"]))
            for row in rows
        }

    @property
    def plane_names(self) -> frozenset[str]:
        """Names of all extensions."""
        return frozenset(self._places)

    @cached_property
    def wcs(self) -> WCS:
        """WCS of the image plane."""
        return WCS(fits.Header.fromstring("".join(self.plane("IMAGE").cards)), naxis=2)

    def plane(self, name: str) -> Plane:
        """Return a plane; raises `KeyError`."""
        if name not in self._planes:
            start, data_start = self._places[name]
            header, _ = self._header(start)
            if header.get("ZIMAGE"):
                size = header["NAXIS1"] * header["NAXIS2"]
                table = tile_table(header, self._bytes(data_start, data_start + size))
                if table is None:
                    raise UnknownFormError
                table = replace(table, rows=table.rows.copy())
            else:
                table = None
                if header.get("NAXIS") != 2 or header["BITPIX"] not in {-32, 32}:
                    raise UnknownFormError
            self._planes[name] = Plane(name, header, table, data_start)
        return self._planes[name]

    def pixels(self, name: str, box: PixelBox) -> npt.NDArray[Any]:
        """Return a part of a plane: float32 or int32, big-endian."""
        plane = self.plane(name)
        rows, columns = box
        if plane.table is None:
            return self._plain_pixels(plane, box)
        table = plane.table
        ty, tx = table.tile
        across = -(-table.shape[1] // tx)
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start), ">f4")
        if not table.floating:
            out = out.view(">i4")
        numbers = [
            j * across + i
            for j in range(rows.start // ty, (rows.stop - 1) // ty + 1)
            for i in range(columns.start // tx, (columns.stop - 1) // tx + 1)
        ]
        for number, tile in self._decoded(plane, table, numbers):
            y0, x0 = number // across * ty, number % across * tx
            y = slice(max(rows.start, y0), min(rows.stop, y0 + tile.shape[0]))
            x = slice(max(columns.start, x0), min(columns.stop, x0 + tile.shape[1]))
            target = np.s_[
                y.start - rows.start : y.stop - rows.start,
                x.start - columns.start : x.stop - columns.start,
            ]
            out[target] = tile[y.start - y0 : y.stop - y0, x.start - x0 : x.stop - x0]
        return out

    def _decoded(
        self, plane: Plane, table: TileTable, numbers: list[int]
    ) -> list[tuple[int, npt.NDArray[Any]]]:
        keys = {number: (self.version, plane.name, number) for number in numbers}
        found = {n: tile for n in numbers if (tile := self.tiles.get(keys[n])) is not None}
        missing = [n for n in numbers if n not in found]
        if missing:
            rows = table.rows[missing]
            cells = [
                rows[name]
                for name in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")
                if name in (rows.dtype.names or ())
            ]
            used = [cell[cell[:, 0] > 0] for cell in cells]
            start = min((int(c[:, 1].min()) for c in used if len(c)), default=0)
            stop = max((int(c.sum(axis=1).max()) for c in used if len(c)), default=0)
            heap = plane.data_start + table.heap_start
            for cell in cells:
                cell[:, 1] -= start
                cell[cell[:, 0] == 0] = 0
            window = replace(table, heap=self._bytes(heap + start, heap + stop))
            for number, row in zip(missing, rows, strict=True):
                tile = np.empty(_tile_shape(table, number), np.float32)
                if not table.floating:
                    tile = tile.view(np.int32)
                decode_tile(window, number, row, tile)
                found[number] = tile
                self.tiles.put(keys[number], tile)
        return [(number, found[number]) for number in numbers]

    def _plain_pixels(self, plane: Plane, box: PixelBox) -> npt.NDArray[Any]:
        rows, columns = box
        nx = plane.shape[1]
        kind = np.dtype(">f4" if plane.header["BITPIX"] < 0 else ">i4")
        start = plane.data_start + rows.start * nx * kind.itemsize
        stop = plane.data_start + rows.stop * nx * kind.itemsize
        whole = np.frombuffer(self._bytes(start, stop), kind).reshape(-1, nx)
        return np.ascontiguousarray(whole[:, columns])

    def _bytes(self, start: int, stop: int) -> memoryview:
        if stop <= len(self._head):
            return self._head[start:stop]
        return self.source.read(start, stop)

    def _header(self, start: int) -> tuple[fits.Header, int]:
        size = 4 * _BLOCK
        while True:
            text = bytes(self._bytes(start, start + size))
            try:
                return _header_of(text, 0)
            except ValueError:
                if len(text) < size:
                    raise UnknownFormError from None
                size *= 4


def _tile_shape(table: TileTable, number: int) -> tuple[int, int]:
    across = -(-table.shape[1] // table.tile[1])
    y0, x0 = number // across * table.tile[0], number % across * table.tile[1]
    return min(table.tile[0], table.shape[0] - y0), min(table.tile[1], table.shape[1] - x0)


def _header_of(content: bytes, start: int) -> tuple[fits.Header, int]:
    """Read the header at a place; return it and where its data begin."""
    place = start
    while True:
        block = content[place : place + _BLOCK]
        if len(block) < _BLOCK:
            raise ValueError("the header goes on")
        place += _BLOCK
        if any(block[i : i + 8] == b"END     " for i in range(0, _BLOCK, _CARD)):
            return fits.Header.fromstring(content[start:place].decode("ascii", "replace")), place


def _numpy_type(form: str) -> str:
    if form.endswith("A"):
        return f"S{form[:-1] or 1}"
    return {"J": ">i4", "K": ">i8", "L": "S1"}[form]


def _lines(text: str) -> list[str]:
    return [text[i : i + _CARD].ljust(_CARD) for i in range(0, len(text), _CARD)]


_STRUCTURE = frozenset(
    {
        "XTENSION", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND",
        "TFIELDS", "THEAP", "CHECKSUM", "DATASUM", "EXTNAME", "BZERO", "BSCALE", "END",
    }
)  # fmt: skip


def _structural(line: str, compressed: bool) -> bool:
    name = line[:8].strip()
    if name in _STRUCTURE:
        return True
    if not compressed:
        return False
    return name.startswith(("TTYPE", "TFORM", "TDIM", "TNULL", "TUNIT")) or (
        name.startswith("Z") and (name in _Z_CARDS or name.startswith(_Z_NUMBERED))
    )


_Z_CARDS = frozenset(
    {
        "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZQUANTIZ", "ZDITHER0", "ZBLANK", "ZSIMPLE",
        "ZTENSION", "ZEXTEND", "ZBLOCKED", "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM",
        "ZMASKCMP",
    }
)  # fmt: skip
_Z_NUMBERED = ("ZNAXIS", "ZTILE", "ZNAME", "ZVAL")


class _Tiles:
    """Decoded tiles, the last used first, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[str, str, int], npt.NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, str, int]) -> npt.NDArray[Any] | None:
        with self._lock:
            tile = self._kept.get(key)
            if tile is not None:
                self._kept.move_to_end(key)
            return tile

    def put(self, key: tuple[str, str, int], tile: npt.NDArray[Any]) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = tile
            self._size += tile.nbytes
            while self._size > self._limit:
                _, old = self._kept.popitem(last=False)
                self._size -= old.nbytes


class FileCache:
    """Files that were cut out of lately.

    Counts in `parsed` how many were parsed.
    """

    def __init__(self, tile_bytes: int = _TILE_CACHE_BYTES) -> None:
        self.parsed = 0
        self._tiles = _Tiles(tile_bytes)
        self._kept: OrderedDict[str, OpenFile | None] = OrderedDict()
        self._lock = Lock()

    def get(self, location: ResourcePath) -> OpenFile | None:
        """Return a file as it is now; `None` for one that must be read in another way.

        Raises
        ------
        FileNotFoundError
            It is not there.
        """
        version, open_source = _version(location)
        key = f"{location} {version}"
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            found = None if open_source is None else OpenFile(open_source(), key, self._tiles)
            self.parsed += 1
        except (UnknownFormError, KeyError, ValueError):
            found = None
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _FILES_KEPT:
                self._kept.popitem(last=False)
        return found


def _version(location: ResourcePath) -> tuple[str, Callable[[], _Source] | None]:
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
