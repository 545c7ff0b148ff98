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
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from residua.storage.forms.quantise import (
    DITHER_SEED,
    DITHER_TABLE,
    NULL,
    TILE,
    image_steps,
    is_constant,
    n_tiles,
    quantise,
    tile_of,
    variance_steps,
)

if TYPE_CHECKING:
    import lsst.images  # noqa: F401 the package before its modules
    from lsst.images.fits import PrecompressedImage

__all__ = ["compress_lossless", "compress_quantised", "lossless_tile", "rice_tile"]

type _Tile = tuple[bytes, bytes, float, float]


def rice_tile(tile: npt.NDArray[np.float32], scale: float, index: int) -> _Tile:
    """Rice-code a tile of a given step and number.

    Returns
    -------
    main, spare, scale, zero
        Bytes of the two columns of the table, ``ZSCALE`` and ``ZZERO``.
    """
    if scale > 0.0 and np.isfinite(scale) and not is_constant(tile):
        integers = np.empty(tile.shape, np.int32)
        first = index + DITHER_SEED - 1
        fits_in, zero = quantise(tile, scale, first, DITHER_TABLE, integers)
        if fits_in:
            return bytes(imagecodecs.rcomp_encode(integers.ravel(), nblock=32)), b"", scale, zero
    # Constant, empty or of extreme range: kept without loss, as cfitsio does.
    kept = np.where(np.isinf(tile), np.float32(np.nan), tile)
    return b"", _gzip(kept.astype(">f4").tobytes()), 0.0, 0.0


def lossless_tile(tile: npt.NDArray[np.generic]) -> _Tile:
    """Deflate a shuffled tile; the result is that of `rice_tile`."""
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
    encoders = [partial(_rice_numbered, p, s) for p, s in zip(planes, steps, strict=True)]
    return _compress(planes, encoders, pool, "RICE_1")


def compress_lossless(
    planes: Sequence[npt.NDArray[np.generic]], pool: ThreadPoolExecutor
) -> "list[PrecompressedImage]":
    """Deflate shuffled float32 or int32 planes (GZIP_2); nothing is lost."""
    encoders = [partial(_lossless_numbered, np.ascontiguousarray(plane)) for plane in planes]
    return _compress(planes, encoders, pool, "GZIP_2")


def _rice_numbered(
    plane: npt.NDArray[np.float32], steps: npt.NDArray[np.float32], index: int
) -> _Tile:
    return rice_tile(tile_of(plane, index), float(steps[index]), index)


def _lossless_numbered(plane: npt.NDArray[np.generic], index: int) -> _Tile:
    return lossless_tile(tile_of(plane, index))


def _compress(
    planes: Sequence[npt.NDArray[Any]],
    encoders: Sequence[Callable[[int], _Tile]],
    pool: ThreadPoolExecutor,
    algorithm: str,
) -> "list[PrecompressedImage]":
    jobs = [
        [pool.submit(encode, index) for index in range(n_tiles(plane))]
        for plane, encode in zip(planes, encoders, strict=True)
    ]
    return [
        _table(plane, [job.result() for job in tiles], algorithm)
        for plane, tiles in zip(planes, jobs, strict=True)
    ]


def _table(
    plane: npt.NDArray[np.generic], tiles: Sequence[_Tile], algorithm: str
) -> "PrecompressedImage":
    import lsst.images  # noqa: F401 the package before its modules
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
            ("ZBLANK", NULL, "null value in the compressed integer array"),
        ]
    cards += [
        ("ZBITPIX", bitpix, "data type of original image"),
        ("ZNAXIS", 2, "dimension of original image"),
        ("ZNAXIS1", nx, "length of original image axis"),
        ("ZNAXIS2", ny, "length of original image axis"),
    ]
    return fits.Header(cards)
