"""A file that is not stored and reads as if it were: pixels are made when they are asked for."""

import io
import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any, override

import numpy as np
import numpy.typing as npt

from residua.recreation.errors import ChangedInputError, RecreationDiffersError
from residua.storage.forms.codec import lossless_tile, rice_tile
from residua.storage.forms.decode import TileTable
from residua.storage.forms.stored_values import stored_values
from residua.storage.regions.hollow import PLANES, HollowFile
from residua.storage.regions.open_file import OpenFile, PixelBox, Plane, UnknownFormError
from residua.storage.regions.tiles import Tiles
from residua.subtraction.errors import SubtractionError
from residua.subtraction.steps.apply import apply
from residua.subtraction.steps.region import DifferenceRegion, PlaneSource
from residua.subtraction.steps.solution import Solution

__all__ = ["RemadeFile", "RemadeStream"]

_TILES_KEPT = 8
_BOXES_KEPT = 8
# Of all files together: the planes of a cutout are asked for one after the other.
_boxes: OrderedDict[tuple[str, tuple[int, int, int, int]], DifferenceRegion] = OrderedDict()
_boxes_lock = Lock()


class RemadeFile(OpenFile):
    """The file of an image that is not stored.

    `pixels` gives the values that the file held, bit for bit; `read` its bytes. Both make no more
    of the image than they need, and one is as good for many threads.

    Parameters
    ----------
    hollow
        What the file held beside pixels.
    solution
        Of the image.
    science, templates
        Its inputs.
    version
        Tells it from others.
    """

    def __init__(
        self,
        hollow: HollowFile,
        solution: Solution,
        science: PlaneSource,
        templates: Sequence[PlaneSource],
        version: str,
    ) -> None:
        self._hollow = hollow
        self._solution = solution
        self._science = science
        self._templates = templates
        self._lock = Lock()
        self._encoded: OrderedDict[int, dict[str, bytes]] = OrderedDict()
        super().__init__(_Described(hollow, solution), version, Tiles(0))
        for name in PLANES:
            if self.plane(name).table is None:
                raise UnknownFormError

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return self._hollow.size

    @property
    def checksum(self) -> str:
        """Of the whole."""
        return self._hollow.checksum

    @override
    def pixels(self, name: str, box: PixelBox) -> npt.NDArray[Any]:
        if name not in PLANES:
            raise UnknownFormError
        plane, made = self.plane(name), self._made(box)
        if name == "MASK":
            return self._mask(made).astype(">i4")
        table = _table(plane)
        exact = made.image if name == "IMAGE" else made.variance
        if table.quantised:
            start = (box[0].start, box[1].start)
            rows = table.rows
            exact = stored_values(exact, start, table.shape, rows["ZSCALE"], rows["ZZERO"])
        return exact.astype(">f4")

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of the file's bytes; only the tiles it touches are made.

        Raises
        ------
        residua.recreation.errors.RecreationDiffersError
            A tile came out with another length than it had.
        """
        stop = min(stop, self.size)
        out = bytearray(self.source.read(start, stop)) if stop > start else bytearray()
        for name in PLANES:
            plane = self.plane(name)
            table = _table(plane)
            heap = plane.data_start + table.heap_start
            spans = _spans(table)
            reached = np.nonzero((spans[:, 0] + heap < stop) & (spans[:, 1] + heap > start))[0]
            for number in reached:
                begin, end = (int(v) + heap for v in spans[number])
                content = self._tile(int(number))[name]
                if len(content) != end - begin:
                    raise RecreationDiffersError(
                        f"tile {number} of {name} came out with {len(content)} bytes, it had "
                        f"{end - begin}: use the release that made the image, or make it whole"
                    )
                a, b = max(begin, start), min(end, stop)
                out[a - start : b - start] = content[a - begin : b - begin]
        return bytes(out)

    def end_of_piece(self, place: int) -> int:
        """Return where the tile ends that the byte at a place is of; else where the next begins."""
        starts, ends = self._cells
        n = int(np.searchsorted(starts, place, side="right"))
        if n and place < ends[n - 1]:
            return int(ends[n - 1])
        return int(starts[n]) if n < len(starts) else self.size

    @cached_property
    def _cells(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where the bytes of all tiles of all planes begin and end in the file, in that order."""
        found = []
        for plane in map(self.plane, PLANES):
            table = _table(plane)
            spans = _spans(table) + plane.data_start + table.heap_start
            found.append(spans[spans[:, 1] > spans[:, 0]])
        cells = np.concatenate(found)
        cells = cells[np.argsort(cells[:, 0], kind="stable")]
        return cells[:, 0].copy(), cells[:, 1].copy()

    def _made(self, box: PixelBox) -> DifferenceRegion:
        key = self.version, (box[0].start, box[0].stop, box[1].start, box[1].stop)
        with _boxes_lock:
            if key in _boxes:
                return _boxes[key]
        try:
            made = apply(self._solution, self._science, self._templates, box=box, threads=1)
        except SubtractionError as e:
            raise ChangedInputError(f"an input is not the one of the solution: {e}") from e
        with _boxes_lock:
            _boxes[key] = made
            while len(_boxes) > _BOXES_KEPT:
                _boxes.popitem(last=False)
        return made

    def _mask(self, made: DifferenceRegion) -> npt.NDArray[np.int32]:
        return made.mask & np.int32((1 << len(self.tree["mask"]["planes"])) - 1)

    def _tile(self, number: int) -> dict[str, bytes]:
        """All planes of a tile as they stand in the file: they are made at once."""
        with self._lock:
            if number in self._encoded:
                self._encoded.move_to_end(number)
                return self._encoded[number]
        table = _table(self.plane("IMAGE"))
        (ny, nx), (ty, tx) = table.shape, table.tile
        down, right = divmod(number, -(-nx // tx))
        y0, x0 = down * ty, right * tx
        made = self._made((slice(y0, min(y0 + ty, ny)), slice(x0, min(x0 + tx, nx))))
        found = {"MASK": lossless_tile(self._mask(made))[0]}
        for name, exact in (("IMAGE", made.image), ("VARIANCE", made.variance)):
            own = _table(self.plane(name))
            if own.quantised:
                main, spare, _, _ = rice_tile(exact, float(own.rows["ZSCALE"][number]), number)
            else:
                main, spare, _, _ = lossless_tile(exact)
            found[name] = main or spare
        with self._lock:
            self._encoded[number] = found
            while len(self._encoded) > _TILES_KEPT:
                self._encoded.popitem(last=False)
        return found


class RemadeStream(io.RawIOBase):
    """A file that is not stored, as a stream of bytes that can be read and sought in.

    It gives no more at once than the rest of a tile, or what lies before the next one: a buffer
    that is filled ahead of what is asked would have all tiles made whose few bytes of mask it
    holds.
    """

    def __init__(self, file: RemadeFile) -> None:
        self._file = file
        self._place = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.size}[whence]
        self._place = max(start + offset, 0)
        return self._place

    @override
    def tell(self) -> int:
        return self._place

    @override
    def readinto(self, buffer: Any, /) -> int:
        stop = min(self._place + len(buffer), self._file.end_of_piece(self._place))
        content = self._file.read(self._place, stop)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


class _Described:
    """The bytes of a file beside its pixels; zeros where those were."""

    asked = -math.inf

    def __init__(self, hollow: HollowFile, solution: Solution) -> None:
        self._pieces = dict(hollow.pieces)
        self._size = hollow.size
        if hollow.kernel is not None:
            start, length = hollow.kernel
            basis = np.ascontiguousarray(solution.kernel.kernel.basis).astype(">f8").tobytes()
            if len(basis) != length:
                raise UnknownFormError
            self._pieces[start] = basis

    def read(self, start: int, stop: int) -> memoryview:
        """Return a range of bytes."""
        out = bytearray(max(min(stop, self._size) - start, 0))
        end = start + len(out)
        for place, piece in self._pieces.items():
            a, b = max(place, start), min(place + len(piece), end)
            if a < b:
                out[a - start : b - start] = piece[a - place : b - place]
        return memoryview(out)


def _table(plane: Plane) -> TileTable:
    assert plane.table is not None
    return plane.table


def _spans(table: TileTable) -> npt.NDArray[np.int64]:
    """Where the bytes of each tile begin and end in the heap: int64 (n, 2)."""
    rows = table.rows
    cells = rows["COMPRESSED_DATA"].astype(np.int64)
    if "GZIP_COMPRESSED_DATA" in (rows.dtype.names or ()):
        spare = rows["GZIP_COMPRESSED_DATA"].astype(np.int64)
        cells = np.where(cells[:, :1] > 0, cells, spare)
    return np.column_stack([cells[:, 1], cells[:, 1] + cells[:, 0]])
