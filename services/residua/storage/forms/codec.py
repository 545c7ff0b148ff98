"""Tile compression of FITS planes (FITS Standard 4.0, section 10), in threads.

Float planes are quantised to a sixteenth of the noise of each tile with subtractive dithering
(White & Greenfield 1999; cfitsio's SUBTRACTIVE_DITHER_2) and Rice-coded; masks, and float
planes on request, are shuffled and deflated without loss (GZIP_2). The bytes depend on the
pixels alone, never on the number of threads.
"""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import imagecodecs
import numba
import numpy as np
import numpy.typing as npt
from astropy.io import fits
from lsst.images.fits import PrecompressedImage

__all__ = ["DITHER_TABLE", "compress_lossless", "compress_quantised"]

TILE_ROWS = 64
"""Rows of a tile; tiles are as wide as the image."""

DITHER_SEED = 1
"""ZDITHER0: where the standard's table of random numbers is entered; fixed, so bytes are."""

LEVEL = 16.0
"""Quantisation steps per standard deviation of the noise."""

_NULL = -2147483648
_ZERO = -2147483646
_RESERVED = 10
_ROW_STEP = 16

type _Tile = tuple[bytes, bytes, float, float]


def _dither_table() -> npt.NDArray[np.float32]:
    # The random numbers of the FITS standard, appendix I.
    table = np.empty(10000, np.float32)
    seed = 1.0
    for i in range(10000):
        product = 16807.0 * seed
        seed = product - 2147483647.0 * float(int(product / 2147483647.0))
        table[i] = seed / 2147483647.0
    return table


DITHER_TABLE = _dither_table()


@numba.njit(nogil=True, cache=True)
def _noise(tile: npt.NDArray[np.float32], differences: npt.NDArray[np.float32]) -> float:
    # Third-order differences along rows (Stoehr et al. 2007, DER_SNR), median over every
    # 16th row; 0 where there is nothing to measure.
    n = 0
    ny, nx = tile.shape
    for j in range(0, ny, _ROW_STEP):
        row = tile[j]
        for i in range(2, nx - 2):
            d = abs(2.0 * row[i] - row[i - 2] - row[i + 2])
            if np.isfinite(d):
                differences[n] = d
                n += 1
    if n < 16:
        return 0.0
    return 0.6052697 * float(np.median(differences[:n]))


@numba.njit(nogil=True, cache=True)
def _quantise(
    tile: npt.NDArray[np.float32],
    scale: float,
    first: int,
    dither: npt.NDArray[np.float32],
    out: npt.NDArray[np.int32],
) -> tuple[bool, float]:
    # Returns whether the range fits, and the zero point. NaN becomes _NULL, exact zero _ZERO.
    ny, nx = tile.shape
    low = np.inf
    high = -np.inf
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v):
                low = min(low, v)
                high = max(high, v)
    if not np.isfinite(low) or (float(high) - float(low)) / scale > 2147483647.0 - 2 * _RESERVED:
        return False, 0.0
    zero = float(low) - scale * (float(_NULL) + _RESERVED)
    seed = first % 10000
    k = int(dither[seed] * 500.0)
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if not np.isfinite(v):
                out[j, i] = _NULL
            elif v == 0.0:
                out[j, i] = _ZERO
            else:
                q = (float(v) - zero) / scale + float(dither[k]) - 0.5
                out[j, i] = int(q + 0.5) if q >= 0.0 else int(q - 0.5)
            k += 1
            if k == 10000:
                seed += 1
                if seed == 10000:
                    seed = 0
                k = int(dither[seed] * 500.0)
    return True, zero


def _rice_tile(plane: npt.NDArray[np.float32], index: int) -> _Tile:
    tile = plane[index * TILE_ROWS : (index + 1) * TILE_ROWS]
    ny, nx = tile.shape
    noise = _noise(tile, np.empty(-(-ny // _ROW_STEP) * nx, np.float32))
    # The C interfaces hold the scale in single precision.
    scale = float(np.float32(noise / LEVEL))
    if scale > 0.0 and np.isfinite(scale):
        integers = np.empty((ny, nx), np.int32)
        fits_in, zero = _quantise(tile, scale, index + DITHER_SEED - 1, DITHER_TABLE, integers)
        if fits_in:
            return bytes(imagecodecs.rcomp_encode(integers.ravel(), nblock=32)), b"", scale, zero
    # Constant, empty or of extreme range: kept without loss, as cfitsio does.
    return b"", _gzip(tile.astype(">f4").tobytes()), 0.0, 0.0


def _lossless_tile(plane: npt.NDArray[np.generic], index: int) -> _Tile:
    tile = plane[index * TILE_ROWS : (index + 1) * TILE_ROWS]
    size = tile.dtype.itemsize
    big_endian = tile.astype(tile.dtype.newbyteorder(">"))
    shuffled = np.ascontiguousarray(big_endian.view(np.uint8).reshape(-1, size).T)
    return _gzip(shuffled), b"", 0.0, 0.0


def _gzip(data: bytes | npt.NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.isal_encode(data, level=1, gzip=True))


def compress_quantised(
    planes: Sequence[npt.NDArray[np.float32]], pool: ThreadPoolExecutor
) -> list[PrecompressedImage]:
    """Rice-code float planes, quantised to 1/16 of the noise.

    Parameters
    ----------
    planes
        float32 (ny, nx) each; NaN is kept, infinities become NaN.
    pool
        Threads to work in.

    Returns
    -------
    compressed
        One per plane. The largest error is half a step (noise / 32) plus float rounding.
    """
    return _compress(planes, _rice_tile, pool, "RICE_1")


def compress_lossless(
    planes: Sequence[npt.NDArray[np.generic]], pool: ThreadPoolExecutor
) -> list[PrecompressedImage]:
    """Deflate shuffled float32 or int32 planes (GZIP_2); nothing is lost."""
    return _compress(planes, _lossless_tile, pool, "GZIP_2")


def _compress(
    planes: Sequence[npt.NDArray[np.generic]],
    encode: Callable[..., _Tile],
    pool: ThreadPoolExecutor,
    algorithm: str,
) -> list[PrecompressedImage]:
    jobs = [
        [
            pool.submit(partial(encode, np.ascontiguousarray(plane), index))
            for index in range(-(-plane.shape[0] // TILE_ROWS))
        ]
        for plane in planes
    ]
    return [
        _table(plane, [job.result() for job in tiles], algorithm)
        for plane, tiles in zip(planes, jobs, strict=True)
    ]


def _table(
    plane: npt.NDArray[np.generic], tiles: Sequence[_Tile], algorithm: str
) -> PrecompressedImage:
    quantised = algorithm == "RICE_1"
    fields: list[tuple[str, str, tuple[int, ...]]] = [("COMPRESSED_DATA", ">i4", (2,))]
    if quantised:
        fields.append(("GZIP_COMPRESSED_DATA", ">i4", (2,)))
        fields += [("ZSCALE", ">f8", ()), ("ZZERO", ">f8", ())]
    rows = np.zeros(len(tiles), dtype=np.dtype(fields))
    parts: list[bytes] = []
    position = 0
    for row, (main, spare, scale, zero) in zip(rows, tiles, strict=True):
        for name, part in (("COMPRESSED_DATA", main), ("GZIP_COMPRESSED_DATA", spare)):
            if part:
                row[name] = len(part), position
                parts.append(part)
                position += len(part)
        if quantised:
            row["ZSCALE"], row["ZZERO"] = scale, zero
    header = _header(plane, tiles, algorithm, rows.dtype.itemsize, position)
    table = b"".join([header.tostring().encode(), rows.tobytes(), *parts])
    table += b"\0" * (-len(table) % 2880)
    hdu = fits.BinTableHDU.readfrom(io.BytesIO(table), memmap=False)
    z_cards = fits.Header([c for c in header.cards if c.keyword.startswith("Z")])
    return PrecompressedImage(header=z_cards, data=hdu.data)


def _header(
    plane: npt.NDArray[np.generic],
    tiles: Sequence[_Tile],
    algorithm: str,
    row_bytes: int,
    heap_bytes: int,
) -> fits.Header:
    ny, nx = plane.shape
    bitpix = -32 if plane.dtype.kind == "f" else 32
    cards: list[tuple[str, object, str]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", row_bytes, "length of dimension 1"),
        ("NAXIS2", len(tiles), "length of dimension 2"),
        ("PCOUNT", heap_bytes, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", 4 if algorithm == "RICE_1" else 1, "number of table fields"),
        ("TTYPE1", "COMPRESSED_DATA", ""),
        ("TFORM1", f"1PB({max(len(t[0]) for t in tiles)})", ""),
    ]
    if algorithm == "RICE_1":
        cards += [
            ("TTYPE2", "GZIP_COMPRESSED_DATA", ""),
            ("TFORM2", f"1PB({max(len(t[1]) for t in tiles)})", ""),
            ("TTYPE3", "ZSCALE", ""),
            ("TFORM3", "1D", ""),
            ("TTYPE4", "ZZERO", ""),
            ("TFORM4", "1D", ""),
        ]
    cards += [
        ("ZIMAGE", True, "extension contains compressed image"),
        ("ZTILE1", nx, "size of tiles to be compressed"),
        ("ZTILE2", TILE_ROWS, "size of tiles to be compressed"),
        ("ZCMPTYPE", algorithm, "compression algorithm"),
    ]
    if algorithm == "RICE_1":
        cards += [
            ("ZNAME1", "BLOCKSIZE", "compression block size"),
            ("ZVAL1", 32, "pixels per block"),
            ("ZNAME2", "BYTEPIX", "bytes per pixel (1, 2, 4, or 8)"),
            ("ZVAL2", 4, "bytes per pixel (1, 2, 4, or 8)"),
            ("ZQUANTIZ", "SUBTRACTIVE_DITHER_2", "Pixel Quantization Algorithm"),
            ("ZDITHER0", DITHER_SEED, "dithering offset when quantizing floats"),
            ("ZBLANK", _NULL, "null value in the compressed integer array"),
        ]
    cards += [
        ("ZBITPIX", bitpix, "data type of original image"),
        ("ZNAXIS", 2, "dimension of original image"),
        ("ZNAXIS1", nx, "length of original image axis"),
        ("ZNAXIS2", ny, "length of original image axis"),
    ]
    return fits.Header(cards)
