"""The table of contents of a file that ``lsst.images`` wrote, and parts of its planes.

Only the tiles of a compressed plane that a box touches are fetched and decoded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from residua.storage.forms.decode import TileTable, decode_tile, tile_table
from residua.storage.regions.byte_ranges import Counts, Source
from residua.storage.regions.plane_cards import BLOCK, Plane, Reference, card_lines, header_of
from residua.storage.regions.tiles import Tiles

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["MASKS", "OpenFile", "PixelBox", "Plane", "Reference", "UnknownFormError"]

type PixelBox = tuple[slice, slice]
"""Rows and columns, 0-based."""

MASKS = ("MASK", "MASK,2", "MASK,3")
"""Extensions of a mask: more than 31 planes fill further ones."""

# Header, table and index of a file usually lie within this.
_HEAD_BYTES = 1 << 16


class UnknownFormError(Exception):
    """The file is not of the form that is read here; others read it, more slowly."""


@dataclass
class OpenFile:
    """A file, as far as it was looked at.

    Raises `UnknownFormError` where it is not written by ``lsst.images``, in the layout of its
    first format version.
    """

    source: Source
    version: str
    tiles: Tiles
    counts: Counts = field(default_factory=Counts)
    primary: fits.Header = field(init=False)
    _places: Mapping[str, tuple[int, int]] = field(init=False)
    _planes: dict[str, Plane] = field(default_factory=dict)
    tree: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self._head = self._fetched(0, _HEAD_BYTES)
        self.primary, _ = self._header(0)
        if self.primary.get("FMTVER") != 1 or "JSONADDR" not in self.primary:
            raise UnknownFormError
        start = self.primary["JSONADDR"]
        stop = self.primary["INDXADDR"] + self.primary["INDXSIZE"]
        if self.primary["INDXADDR"] != start + self.primary["JSONSIZE"]:
            raise UnknownFormError
        tail = bytes(self._fetched(start, stop))
        self._tail_digest = sha256(tail).digest()
        self._read_tail(tail, self.primary["JSONSIZE"])

    def _read_tail(self, tail: bytes, json_size: int) -> None:
        from pydantic_core import from_json

        json_header, json_data = header_of(tail, 0)
        if json_header["NAXIS2"] != 1:
            # Parts of the tree by reference.
            raise UnknownFormError
        length, offset = np.frombuffer(tail, ">i4", count=2, offset=json_data)
        begin = json_data + json_header["NAXIS1"] + int(offset)
        self.tree = from_json(tail[begin : begin + int(length)])
        header, data = header_of(tail, json_size)
        fields = [
            (header[f"TTYPE{n}"], _numpy_type(header[f"TFORM{n}"].strip()))
            for n in range(1, header["TFIELDS"] + 1)
        ]
        rows = np.frombuffer(tail, np.dtype(fields), count=header["NAXIS2"], offset=data)
        self._places = {_name(row): (int(row["HDRADDR"]), int(row["DATADDR"])) for row in rows}

    @cached_property
    def primary_cards(self) -> tuple[str, ...]:
        """The cards of the first header."""
        return tuple(card_lines(self.primary.tostring(endcard=False, padding=False)))

    @property
    def plane_names(self) -> frozenset[str]:
        """Names of all extensions."""
        return frozenset(self._places)

    @property
    def data_starts(self) -> Mapping[str, int]:
        """Where the data of the extensions begin, by their names."""
        return {name: data for name, (_, data) in self._places.items()}

    @cached_property
    def contents_digest(self) -> str:
        """sha256 of all that describes the pixels: other pixels or another calibration, another.

        Raises `UnknownFormError` where a plane is not compressed: nothing but its pixels tells
        them from others.
        """
        names = tuple(n for n in ("IMAGE", "VARIANCE", *MASKS) if n in self._places)
        if any(self.plane(n).table is None for n in names):
            raise UnknownFormError
        digest = sha256(self.primary.tostring().encode())
        digest.update(self._tail_digest)
        digest.update(self.digest(names).encode())
        return digest.hexdigest()

    def digest(self, names: tuple[str, ...]) -> str:
        """Return the sha256 of headers and tables of tiles: other pixels, another one."""
        digest = sha256()
        for name in names:
            plane = self.plane(name)
            digest.update(plane.header.tostring().encode())
            if plane.table is not None:
                digest.update(plane.table.rows.tobytes())
        return digest.hexdigest()

    @cached_property
    def wcs(self) -> "WCS":
        """WCS of the image plane."""
        from astropy.wcs import WCS

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
        for window, part, rows in self._windows(plane, table, missing):
            for number, row in zip(part, rows, strict=True):
                tile = np.empty(_tile_shape(table, number), np.float32)
                if not table.floating:
                    tile = tile.view(np.int32)
                decode_tile(window, number, row, tile)
                found[number] = tile
                self.tiles.put(keys[number], tile)
        self.counts.add(tiles=len(missing))
        return [(number, found[number]) for number in numbers]

    def _windows(
        self, plane: Plane, table: TileTable, numbers: list[int]
    ) -> Iterator[tuple[TileTable, list[int], npt.NDArray[np.void]]]:
        """Yield neighbours in the file together, with the bytes they have in common."""
        spans = [_span(table.rows[n]) for n in numbers]
        order = sorted(range(len(numbers)), key=lambda i: spans[i])
        heap = plane.data_start + table.heap_start
        while order:
            count = 1
            start, stop = spans[order[0]]
            while count < len(order) and spans[order[count]][0] <= stop:
                stop = max(stop, spans[order[count]][1])
                count += 1
            part = [numbers[i] for i in order[:count]]
            order = order[count:]
            rows = table.rows[part]
            for name in _CELLS:
                if name in (rows.dtype.names or ()):
                    used = rows[name][:, 0] > 0
                    rows[name][:, 1] = np.where(used, rows[name][:, 1] - start, 0)
            yield replace(table, heap=self._bytes(heap + start, heap + stop)), part, rows

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
        return self._fetched(start, stop)

    def _fetched(self, start: int, stop: int) -> memoryview:
        content = self.source.read(start, stop)
        self.counts.add(requests=1, fetched=len(content))
        return content

    def _header(self, start: int) -> tuple[fits.Header, int]:
        size = 4 * BLOCK
        while True:
            text = bytes(self._bytes(start, start + size))
            try:
                return header_of(text, 0)
            except ValueError:
                if len(text) < size:
                    raise UnknownFormError from None
                size *= 4


_CELLS = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")


def _span(row: np.void) -> tuple[int, int]:
    """Return where the bytes of a tile begin and end in the heap."""
    cells = [row[name] for name in _CELLS if name in (row.dtype.names or ())]
    used = [(int(offset), int(offset + length)) for length, offset in cells if length > 0]
    return min((u[0] for u in used), default=0), max((u[1] for u in used), default=0)


def _name(row: np.void) -> str:
    # Masks of more than 31 planes go on in a second extension of the name.
    name = str(row["EXTNAME"].decode().strip(" \0"))
    return name if row["EXTVER"] <= 1 else f"{name},{row['EXTVER']}"


def _tile_shape(table: TileTable, number: int) -> tuple[int, int]:
    across = -(-table.shape[1] // table.tile[1])
    y0, x0 = number // across * table.tile[0], number % across * table.tile[1]
    return min(table.tile[0], table.shape[0] - y0), min(table.tile[1], table.shape[1] - x0)


def _numpy_type(form: str) -> str:
    if form.endswith("A"):
        return f"S{form[:-1] or 1}"
    return {"J": ">i4", "K": ">i8", "L": "S1"}[form]
