"""Cutouts of FITS files: only the tiles of the needed pixels are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images import Box, DifferenceImage
from lsst.images.serialization import read_archive, write_archive
from lsst.resources import ResourcePath

from residua.access.cutouts.stencils import pixel_box
from residua.access.dali.errors import UsageError
from residua.sphere.regions import Region
from residua.storage.forms.archive import PackedMask, PlaneImage
from residua.storage.regions.open_file import PixelBox

__all__ = ["CutoutMode", "write_cutout"]

type CutoutMode = Literal["image", "masked-image", "exposure"]

_PLANES: dict[str, tuple[str, ...]] = {
    "image": ("IMAGE",),
    "masked-image": ("IMAGE", "MASK", "VARIANCE"),
}
# Headers lie between planes: small blocks, kept, so that none is fetched twice.
_BLOCK_BYTES = 1 << 18
_CACHE_BYTES = 1 << 26
_DROPPED = ("CHECKSUM", "DATASUM", "ZDATASUM", "ZHECKSUM")


def write_cutout(
    source: ResourcePath | IO[bytes], region: Region, mode: CutoutMode, path: Path
) -> bool:
    """Write a cutout of a FITS file.

    Parameters
    ----------
    source
        The file, local or in an object store; or a stream of its bytes.
    region
        What to cut out: the box of pixels around it.
    mode
        ``image``: the image plane with its WCS. ``masked-image``: mask and variance too.
        ``exposure``: everything; of a file that lsst.images wrote, the same kind of object,
        such as an `lsst.images.DifferenceImage` with PSF and kernel.
    path
        Where to write it.

    Returns
    -------
    written
        False if the region lies off the image.
    """
    with _opened(source) as stream, fits.open(stream, lazy_load_hdus=True) as hdus:
        image = _image_hdu(hdus)
        ny, nx = image.shape[-2:]
        wcs = WCS(image.header, naxis=2)
        if not wcs.has_celestial:
            raise UsageError("the file has no celestial WCS to cut out by")
        box = pixel_box(region, wcs, (ny, nx))
        if box is None:
            return False
        if mode == "exposure" and "JSON" in hdus and "INDEX" in hdus:
            _write_archive(stream, hdus, box, wcs, path)
        elif mode == "exposure":
            _write_hdus(hdus, (ny, nx), box, path)
        else:
            _write_planes(hdus, image, _PLANES[mode], box, path)
    return True


@contextmanager
def _opened(source: ResourcePath | IO[bytes]) -> Iterator[IO[bytes] | str]:
    if not isinstance(source, ResourcePath):
        yield source
        return
    if source.isLocal:
        yield source.ospath
        return
    system, path = source.to_fsspec()
    cache = {"maxblocks": _CACHE_BYTES // _BLOCK_BYTES}
    with system.open(
        path, "rb", block_size=_BLOCK_BYTES, cache_type="blockcache", cache_options=cache
    ) as stream:
        yield stream


def _image_hdu(hdus: fits.HDUList) -> Any:
    for i, hdu in enumerate(hdus):
        if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2 and (i == 0 or hdu.name != "MASK"):
            return hdu
    raise UsageError("the file has no image plane")


def _write_planes(
    hdus: fits.HDUList, image: Any, names: tuple[str, ...], box: PixelBox, path: Path
) -> None:
    primary = None if image is hdus[0] else _kept(hdus[0].header)
    out = fits.HDUList([fits.PrimaryHDU(header=primary)])
    for name in names:
        if name == "IMAGE":
            hdu = image
        elif name in hdus:
            hdu = hdus[name]
        else:
            raise UsageError(f"the file has no {name} plane; ask for CUTOUTMODE image")
        data = np.asarray(hdu.section[box])
        out.append(fits.ImageHDU(data, header=_moved(hdu.header, box), name=name))
    out.writeto(path, output_verify="silentfix")


def _write_archive(
    source: IO[bytes] | str, hdus: fits.HDUList, box: PixelBox, wcs: WCS, path: Path
) -> None:
    rows, columns = box
    kept = _kept(hdus[0].header)

    def update_header(header: fits.Header) -> None:
        for card in kept.cards:
            if card.keyword not in header:
                header.append(card)

    bbox = Box.factory[rows.start : rows.stop, columns.start : columns.stop]
    if not isinstance(source, str):
        source.seek(0)
    whole = read_archive(source, format="fits", bbox=bbox)
    if isinstance(whole, DifferenceImage):
        whole = _with_headers(whole, hdus, box, wcs)
    write_archive(whole, str(path), update_header=update_header)


def _with_headers(
    whole: DifferenceImage, hdus: fits.HDUList, box: PixelBox, wcs: WCS
) -> DifferenceImage:
    """Return the part with the WCS cards and the mask bits of the file."""
    rows, columns = box
    header_wcs = wcs.deepcopy()
    header_wcs.wcs.crpix = wcs.wcs.crpix - [columns.start, rows.start]
    packed = np.asarray(hdus["MASK"].section[box], np.int32)
    bbox, unit = whole.bbox, whole.unit
    projection = whole.sky_projection
    return DifferenceImage(
        PlaneImage(whole.image.array, header_wcs, bbox=bbox, unit=unit, sky_projection=projection),
        mask=PackedMask(
            packed, whole.mask.schema, header_wcs, bbox=bbox, sky_projection=projection
        ),
        variance=PlaneImage(whole.variance.array, header_wcs, bbox=bbox, unit=whole.variance.unit),
        sky_projection=projection,
        obs_info=whole.obs_info,
        band=whole.band,
        psf=whole.psf,
        detector=whole.detector,
        summary_stats=whole.summary_stats,
        photometric_scaling=whole.photometric_scaling,
        kernel=whole.kernel,
        templates=whole.templates,
    )


def _write_hdus(hdus: fits.HDUList, shape: tuple[int, int], box: PixelBox, path: Path) -> None:
    """Write every HDU of a plain file: planes of the image's size cut, the others whole."""
    out = fits.HDUList()
    for hdu in hdus:
        if hdu.is_image and getattr(hdu, "shape", ())[-2:] == shape:
            part, header = np.asarray(hdu.section[box]), _moved(hdu.header, box)
        elif hdu.is_image:
            part, header = hdu.data, _kept(hdu.header)
        else:
            out.append(hdu.copy())
            continue
        kind = fits.ImageHDU if out else fits.PrimaryHDU
        out.append(kind(part, header=header))
    out.writeto(path, output_verify="silentfix")


def _kept(header: fits.Header) -> fits.Header:
    kept = header.copy()
    for name in _DROPPED:
        kept.remove(name, ignore_missing=True)
    return kept


def _moved(header: fits.Header, box: PixelBox) -> fits.Header:
    """Return the header of the part: reference pixels of every WCS moved."""
    rows, columns = box
    moved = _kept(header)
    for axis, start in ((1, columns.start), (2, rows.start)):
        for card in list(moved.cards):
            keyword = card.keyword
            if not keyword.startswith(f"CRPIX{axis}"):
                continue
            alternative = keyword.removeprefix(f"CRPIX{axis}")
            if moved.get(f"CTYPE{axis}{alternative}") == "LINEAR":
                # This one counts the pixels of the whole image.
                value = f"CRVAL{axis}{alternative}"
                moved[value] = moved.get(value, 0.0) + start
            else:
                moved[keyword] = card.value - start
    return moved
