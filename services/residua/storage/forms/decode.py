"""Tile-compressed planes decoded in threads (FITS Standard 4.0, section 10).

astropy decodes tile after tile in one thread. The forms that survey pipelines write, Rice and
gzip with or without quantisation, are decoded here in several, to the same bits; anything else
is left to astropy.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numba
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from residua.storage.forms.quantise import DITHER_TABLE

__all__ = ["PlaneReader", "TileTable", "decode_tile", "tile_table"]

_ZERO = -2147483646
_COLUMN_TYPES = {"P": (">i4", (2,)), "Q": (">i8", (2,)), "D": (">f8", ()), "E": (">f4", ())}


@dataclass(frozen=True)
class TileTable:
    """The binary table behind a compressed image, and what its cards say.

    Parameters
    ----------
    rows
        Descriptors of the tiles.
    heap
        Their bytes.
    heap_start
        Where the heap begins, counted from the table's first row.
    shape, tile
        Rows and columns of the image, and of a tile.
    """

    rows: npt.NDArray[np.void]
    heap: memoryview
    heap_start: int
    shape: tuple[int, int]
    tile: tuple[int, int]
    algorithm: str
    block: int
    floating: bool
    quantised: bool
    dither: int
    seed: int
    null: int


class PlaneReader:
    """Reads the image planes of one file.

    Parameters
    ----------
    hdus
        The file, opened by astropy; with its compressed images as images, or as tables.
    content
        The whole file.
    pool
        Threads to work in.
    """

    def __init__(self, hdus: fits.HDUList, content: bytes, pool: ThreadPoolExecutor) -> None:
        self._hdus = hdus
        self._content = content
        self._pool = pool

    def read(self, index: int) -> npt.NDArray[Any]:
        """Return the pixels (ny, nx) of the HDU at a place in the file."""
        hdu = self._hdus[index]
        as_stored = isinstance(hdu, fits.BinTableHDU) and "ZIMAGE" in hdu.header
        if not as_stored and not isinstance(hdu, fits.CompImageHDU):
            return np.asarray(hdu.data)
        table = _table(hdu, self._content)
        if table is None and as_stored:
            with fits.open(io.BytesIO(self._content), memmap=False) as hdus:
                return np.asarray(hdus[index].data)
        if table is None:
            return np.asarray(hdu.data)
        out = np.empty(table.shape, np.float32 if table.floating else np.int32)
        jobs = [self._pool.submit(_decode_tile, table, n, out) for n in range(len(table.rows))]
        for job in jobs:
            job.result()
        return out


def _table(hdu: fits.CompImageHDU | fits.BinTableHDU, content: bytes) -> TileTable | None:
    # `None`: a form that is not decoded here.
    info = hdu.fileinfo()
    start = info["datLoc"]
    header = fits.Header.fromstring(content[info["hdrLoc"] : start])
    table = tile_table(header, memoryview(content)[start:])
    if table is None:
        return None
    end = header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"]
    heap = memoryview(content)[start + table.heap_start : start + end]
    return replace(table, heap=heap)


def tile_table(header: fits.Header, rows: memoryview) -> TileTable | None:
    """Read the table of a compressed plane; `None` for a form that is not decoded here.

    Parameters
    ----------
    header
        Of the binary table, as it stands in the file.
    rows
        The table's rows, or more.

    Returns
    -------
    table
        With an empty heap.
    """
    if header.get("ZBITPIX") not in {-32, 32} or header.get("ZNAXIS") != 2:
        return None
    if {"BZERO", "BSCALE", "ZMASKCMP"} & set(header):
        return None
    fields = []
    for n in range(1, header["TFIELDS"] + 1):
        form = str(header[f"TFORM{n}"]).lstrip("01").split("B", 1)[0].strip()
        if form not in _COLUMN_TYPES:
            return None
        fields.append((str(header[f"TTYPE{n}"]).upper(), *_COLUMN_TYPES[form]))
    dtype = np.dtype(fields)
    if dtype.itemsize != header["NAXIS1"] or "COMPRESSED_DATA" not in (dtype.names or ()):
        return None
    names = set(dtype.names or ())
    floating = header["ZBITPIX"] == -32
    method = str(header.get("ZQUANTIZ", "NO_DITHER")).strip()
    quantised = floating and "ZSCALE" in names and "ZZERO" in names and method != "NONE"
    dithers = {"NO_DITHER": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
    algorithm = str(header["ZCMPTYPE"]).strip().replace("RICE_ONE", "RICE_1")
    options = {
        header[f"ZNAME{n}"]: header[f"ZVAL{n}"] for n in range(1, 9) if f"ZNAME{n}" in header
    }
    known = algorithm in {"GZIP_1", "GZIP_2"} or (
        algorithm == "RICE_1" and options.get("BYTEPIX", 4) == 4 and (quantised or not floating)
    )
    if not known or "ZBLANK" in names or method not in {*dithers, "NONE"}:
        return None
    count = header["NAXIS2"]
    ny, nx = header["ZNAXIS2"], header["ZNAXIS1"]
    return TileTable(
        rows=np.frombuffer(rows, dtype, count=count),
        heap=memoryview(b""),
        heap_start=header.get("THEAP", header["NAXIS1"] * count),
        shape=(ny, nx),
        tile=(header.get("ZTILE2", 1), header.get("ZTILE1", nx)),
        algorithm=algorithm,
        block=int(options.get("BLOCKSIZE", 32)),
        floating=floating,
        quantised=quantised,
        dither=dithers.get(method, 0),
        seed=int(header.get("ZDITHER0", 1)),
        null=int(header.get("ZBLANK", -2147483648)),
    )


def _decode_tile(table: TileTable, index: int, out: npt.NDArray[Any]) -> None:
    across = -(-table.shape[1] // table.tile[1])
    y0, x0 = index // across * table.tile[0], index % across * table.tile[1]
    decode_tile(
        table, index, table.rows[index], out[y0 : y0 + table.tile[0], x0 : x0 + table.tile[1]]
    )


def decode_tile(table: TileTable, index: int, row: np.void, target: npt.NDArray[Any]) -> None:
    """Decode a tile.

    Parameters
    ----------
    index
        Its number: the dithering follows from it.
    row
        Its descriptors, with offsets into ``table.heap``.
    target
        float32 or int32, of the tile's shape: filled.
    """
    data = _cell(table, row["COMPRESSED_DATA"])
    if len(data) == 0:
        _uncompressed_tile(table, row, target)
        return
    stored = np.dtype(">f4" if table.floating and not table.quantised else ">i4")
    n = target.size
    match table.algorithm:
        case "RICE_1":
            values: npt.NDArray[Any] = imagecodecs.rcomp_decode(
                data, shape=(n,), dtype=np.int32, nblock=table.block
            )
        case "GZIP_2":
            planes = np.frombuffer(imagecodecs.isal_decode(data), np.uint8, count=4 * n)
            values = _joined(planes.reshape(4, n)).view(stored.newbyteorder("="))
        case _:
            values = np.frombuffer(imagecodecs.isal_decode(data), stored, count=n)
    values = values.reshape(target.shape)
    if not table.quantised:
        target[...] = values
        return
    integers = np.ascontiguousarray(values, dtype=np.int32)
    scale, zero = float(row["ZSCALE"]), float(row["ZZERO"])
    first = (index + table.seed - 1) % 10000
    _unquantise(integers, scale, zero, table.dither, first, table.null, DITHER_TABLE, target)


def _joined(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Join planes of bytes, the highest first: a tenth of what turning the array takes."""
    values = planes[0].astype(np.uint32)
    for lower in planes[1:]:
        values <<= 8
        values |= lower
    return values


def _uncompressed_tile(table: TileTable, row: np.void, target: npt.NDArray[Any]) -> None:
    # Tiles that could not be quantised are kept whole.
    names = row.dtype.names or ()
    stored = np.dtype(">f4" if table.floating else ">i4")
    if "GZIP_COMPRESSED_DATA" in names and row["GZIP_COMPRESSED_DATA"][0] > 0:
        data = imagecodecs.isal_decode(_cell(table, row["GZIP_COMPRESSED_DATA"]))
        target[...] = np.frombuffer(data, stored, count=target.size).reshape(target.shape)
    else:
        raise ValueError("a tile of the compressed image holds no data")


def _cell(table: TileTable, descriptor: npt.NDArray[np.integer]) -> memoryview:
    length, offset = int(descriptor[0]), int(descriptor[1])
    if length < 0 or offset < 0 or offset + length > len(table.heap):
        raise ValueError("a tile of the compressed image lies outside its heap")
    return table.heap[offset : offset + length]


@numba.njit(nogil=True, cache=True)
def _unquantise(
    values: npt.NDArray[np.int32],
    scale: float,
    zero: float,
    dither: int,
    first: int,
    null: int,
    table: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    ny, nx = values.shape
    seed = first
    k = int(table[seed] * 500.0)
    for j in range(ny):
        for i in range(nx):
            v = values[j, i]
            if v == null:
                out[j, i] = np.nan
            elif dither == 2 and v == _ZERO:
                out[j, i] = 0.0
            elif dither:
                out[j, i] = (float(v) - float(table[k]) + 0.5) * scale + zero
            else:
                out[j, i] = float(v) * scale + zero
            k += 1
            if k == 10000:
                seed = seed + 1 if seed < 9999 else 0
                k = int(table[seed] * 500.0)
