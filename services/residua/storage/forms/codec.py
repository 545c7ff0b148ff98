"""Tile compression of FITS planes (FITS Standard 4.0, section 10), in threads.

Float planes are quantised with subtractive dithering (White & Greenfield 1999; cfitsio's
SUBTRACTIVE_DITHER_2) and Rice-coded: an image to a sixteenth of the noise of each tile, a variance
to a fixed part of its median. Masks, and float planes on request, are shuffled and deflated without
loss (GZIP_2). Tiles are squares, so that a stamp needs few of them. The bytes depend on the pixels
alone, never on the number of threads.
"""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import imagecodecs
import numba
import numpy as np
import numpy.typing as npt
from astropy.io import fits

if TYPE_CHECKING:
    from lsst.images.fits import PrecompressedImage

__all__ = [
    "DITHER_TABLE",
    "TILE",
    "compress_lossless",
    "compress_quantised",
    "image_steps",
    "variance_steps",
]

TILE = 256
"""Rows and columns of a tile."""

DITHER_SEED = 1
"""ZDITHER0: where the standard's table of random numbers is entered; fixed, so bytes are."""

LEVEL = 16.0
"""Quantisation steps of an image per standard deviation of its noise."""

VARIANCE_LEVEL = 64.0
"""Quantisation steps of a variance per median: an error of 0.5 % rms there, without bias."""

_NULL = -2147483648
_ZERO = -2147483646
_RESERVED = 10
_OFFSET_UNIT = 1024.0
_SAMPLE = 4096

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
def _noise(tile: npt.NDArray[np.float32], step: int, differences: npt.NDArray[np.float32]) -> float:
    # Third-order differences along rows (Stoehr et al. 2007, DER_SNR), median over every
    # step-th. Fill values (zeros, ties, NaN) are not noise; 0 where there is nothing to measure.
    n = 0
    ny, nx = tile.shape
    for j in range(0, ny, step):
        row = tile[j]
        for i in range(2, nx - 2):
            d = abs(2.0 * row[i] - row[i - 2] - row[i + 2])
            if np.isfinite(d) and d > 0.0 and row[i] != 0.0:
                differences[n] = d
                n += 1
    if n < 16:
        return 0.0
    return 0.6052697 * float(np.median(differences[:n]))


@numba.njit(nogil=True, cache=True)
def _median(tile: npt.NDArray[np.float32], step: int, values: npt.NDArray[np.float32]) -> float:
    # Of what is positive in every step-th row; 0 where nothing is.
    n = 0
    ny, nx = tile.shape
    for j in range(0, ny, step):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v) and v > 0.0:
                values[n] = v
                n += 1
    return float(np.median(values[:n])) if n else 0.0


@numba.njit(nogil=True, cache=True)
def _is_constant(tile: npt.NDArray[np.float32]) -> bool:
    # All finite pixels alike: exact is smaller than quantised.
    ny, nx = tile.shape
    found = np.float32(np.nan)
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v):
                if np.isnan(found):
                    found = v
                elif v != found:
                    return False
    return True


@numba.njit(nogil=True, cache=True)
def _quantise(
    tile: npt.NDArray[np.float32],
    scale: float,
    first: int,
    dither: npt.NDArray[np.float32],
    out: npt.NDArray[np.int32],
) -> tuple[bool, float]:
    # Returns whether the range fits, and the zero point. NaN becomes _NULL, exact zero _ZERO.
    # Codes begin near these, so that blocks with both stay small; where they begin is a round
    # number of steps, which hardly ever depends on one pixel.
    ny, nx = tile.shape
    low = high = 0.0
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v):
                low = min(low, float(v))
                high = max(high, float(v))
    below = np.ceil(-low / scale / _OFFSET_UNIT) * _OFFSET_UNIT
    if high / scale + below > 4294967295.0 - 3 * _RESERVED:
        return False, 0.0
    zero = -scale * (float(_NULL) + _RESERVED + below)
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


def _tile(plane: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
    down, right = divmod(index, -(-plane.shape[1] // TILE))
    return plane[down * TILE : (down + 1) * TILE, right * TILE : (right + 1) * TILE]


def _n_tiles(plane: npt.NDArray[Any]) -> int:
    return -(-plane.shape[0] // TILE) * -(-plane.shape[1] // TILE)


def image_steps(
    image: npt.NDArray[np.float32], pool: ThreadPoolExecutor
) -> npt.NDArray[np.float32]:
    """Return the quantisation steps of an image: a sixteenth of each tile's noise.

    Tiles that are empty but for fill values take the median of the others; 0: kept without loss.

    Parameters
    ----------
    image
        float32 (ny, nx).
    pool
        Threads to work in.

    Returns
    -------
    steps
        float32, one a tile, row by row of tiles.
    """
    noise = _of_tiles(image, _noise, pool)
    good = noise > 0.0
    typical = float(np.median(noise[good])) if good.any() else 0.0
    # The C interfaces hold the scale in single precision.
    return np.asarray(np.where(good, noise, typical) / LEVEL, np.float32)


def variance_steps(
    variance: npt.NDArray[np.float32], pool: ThreadPoolExecutor
) -> npt.NDArray[np.float32]:
    """Return the quantisation steps of a variance: a part of the median, the tile's or the plane's.

    The lesser of the two, so that what lies around a bright source is not coded by its variance.
    Parameters and result are those of `image_steps`.
    """
    medians = _of_tiles(variance, _median, pool)
    good = medians > 0.0
    typical = float(np.median(medians[good])) if good.any() else 0.0
    steps = np.where(good, np.minimum(medians, typical), typical) / VARIANCE_LEVEL
    return np.asarray(steps, np.float32)


def _of_tiles(
    plane: npt.NDArray[np.float32], measure: Callable[..., float], pool: ThreadPoolExecutor
) -> npt.NDArray[np.float64]:
    def measured(index: int) -> float:
        tile = _tile(plane, index)
        ny, nx = tile.shape
        # Every 16th row of a whole tile, all of a narrow one.
        step = max(1, tile.size // _SAMPLE)
        return measure(tile, step, np.empty(-(-ny // step) * nx, np.float32))

    return np.array(list(pool.map(measured, range(_n_tiles(plane)))))


def _rice_tile(plane: npt.NDArray[np.float32], steps: npt.NDArray[np.float32], index: int) -> _Tile:
    tile = _tile(plane, index)
    scale = float(steps[index])
    if scale > 0.0 and np.isfinite(scale) and not _is_constant(tile):
        integers = np.empty(tile.shape, np.int32)
        first = index + DITHER_SEED - 1
        fits_in, zero = _quantise(tile, scale, first, DITHER_TABLE, integers)
        if fits_in:
            return bytes(imagecodecs.rcomp_encode(integers.ravel(), nblock=32)), b"", scale, zero
    # Constant, empty or of extreme range: kept without loss, as cfitsio does.
    kept = np.where(np.isinf(tile), np.float32(np.nan), tile)
    return b"", _gzip(kept.astype(">f4").tobytes()), 0.0, 0.0


def _lossless_tile(plane: npt.NDArray[np.generic], index: int) -> _Tile:
    tile = _tile(plane, index)
    size = tile.dtype.itemsize
    big_endian = tile.astype(tile.dtype.newbyteorder(">"))
    shuffled = np.ascontiguousarray(big_endian.view(np.uint8).reshape(-1, size).T)
    return _gzip(shuffled), b"", 0.0, 0.0


def _gzip(data: bytes | npt.NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.isal_encode(data, level=1, gzip=True))


def compress_quantised(
    image: npt.NDArray[np.float32], variance: npt.NDArray[np.float32], pool: ThreadPoolExecutor
) -> "list[PrecompressedImage]":
    """Rice-code an image and its variance, quantised by `image_steps` and `variance_steps`.

    Parameters
    ----------
    image, variance
        float32 (ny, nx) each; NaN is kept, infinities become NaN.
    pool
        Threads to work in.

    Returns
    -------
    compressed
        Image and variance. The largest error is half a step plus float rounding.
    """
    planes = [np.ascontiguousarray(p) for p in (image, variance)]
    steps = [image_steps(planes[0], pool), variance_steps(planes[1], pool)]
    encoders = [partial(_rice_tile, p, s) for p, s in zip(planes, steps, strict=True)]
    return _compress(planes, encoders, pool, "RICE_1")


def compress_lossless(
    planes: Sequence[npt.NDArray[np.generic]], pool: ThreadPoolExecutor
) -> "list[PrecompressedImage]":
    """Deflate shuffled float32 or int32 planes (GZIP_2); nothing is lost."""
    encoders = [partial(_lossless_tile, np.ascontiguousarray(plane)) for plane in planes]
    return _compress(planes, encoders, pool, "GZIP_2")


def _compress(
    planes: Sequence[npt.NDArray[Any]],
    encoders: Sequence[Callable[[int], _Tile]],
    pool: ThreadPoolExecutor,
    algorithm: str,
) -> "list[PrecompressedImage]":
    jobs = [
        [pool.submit(encode, index) for index in range(_n_tiles(plane))]
        for plane, encode in zip(planes, encoders, strict=True)
    ]
    return [
        _table(plane, [job.result() for job in tiles], algorithm)
        for plane, tiles in zip(planes, jobs, strict=True)
    ]


def _table(
    plane: npt.NDArray[np.generic], tiles: Sequence[_Tile], algorithm: str
) -> "PrecompressedImage":
    from lsst.images.fits import PrecompressedImage

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
        ("ZTILE1", min(TILE, nx), "size of tiles to be compressed"),
        ("ZTILE2", min(TILE, ny), "size of tiles to be compressed"),
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
