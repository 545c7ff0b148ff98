"""Plain FITS images: one image with a celestial WCS, and whatever else the file offers."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from astropy.io import fits

from residua.instruments import InstrumentRegistry
from residua.storage.conventions.celestial import celestial_wcs
from residua.storage.conventions.file_identity import UNDESCRIBED
from residua.storage.conventions.flux import calibrate
from residua.storage.conventions.plane_roles import (
    find_image,
    other_planes,
    plane_shape,
    refuse_other_products,
)
from residua.storage.forms.wcs import pixel_scale
from residua.storage.read.file_contents import FileContents, ReadOptions
from residua.storage.read.header_metadata import metadata_from_header
from residua.storage.read.opened import ImageFile
from residua.storage.read.plain.plain_image import PlainImage

__all__ = ["open_plain_fits"]


def open_plain_fits(
    hdus: fits.HDUList,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions,
    companions: Mapping[str, bytes],
) -> ImageFile:
    """Open a FITS image whose only promise is a celestial WCS.

    The file's one image on the sky is taken, the one named SCI or IMAGE, or the extension that
    was asked for. How its pixels are read tells `residua.storage.read.plain.plain_pixels.decode`.

    Raises
    ------
    residua.errors.NoWcsError, residua.errors.UnknownUnitError
        See their messages.
    residua.errors.UnusableImageError
        No two-dimensional image, or several of them.
    """
    hdu = find_image(hdus, name, options.extension)
    header = _full_header(hdus, hdu)
    refuse_other_products(header, name)
    shape = plane_shape(hdu)
    assert shape is not None
    projection = hdu.header if "CTYPE1" in hdu.header else header
    wcs, wcs_notes = celestial_wcs(_sized(projection, shape), name, hdus)
    metadata = metadata_from_header(
        header,
        instruments,
        visit_from=options.visit_from,
        detector_from=options.detector_from,
    )
    instrument = instruments.get(metadata.instrument or UNDESCRIBED)
    calibration = calibrate(
        header.get("BUNIT"),
        header,
        name,
        instrument=instrument,
        band=options.band or metadata.band,
        exposure_time=metadata.exposure_time,
        zero_point=options.zero_point,
        pixel_area=math.radians(pixel_scale(wcs, shape) / 3600.0) ** 2,
    )
    planes, notes = other_planes(hdus, hdu, options.extension)
    image = PlainImage(
        name, hdu, header, wcs, metadata, calibration, instrument, options, planes, companions
    )
    return ImageFile(
        name,
        "plain FITS",
        shape,
        wcs,
        metadata,
        calibration,
        lambda: None,
        partial(_decode, image),
        (*wcs_notes, *notes),
        header,
    )


def _decode(image: PlainImage) -> FileContents:
    # numba and scipy take as long to import as all else that headers need.
    from residua.storage.read.plain.plain_pixels import decode

    return decode(image)


def _full_header(hdus: fits.HDUList, hdu: Any) -> fits.Header:
    # Multi-extension files keep what all extensions share in the primary header.
    header = hdu.header.copy()
    if hdu is not hdus[0]:
        for card in hdus[0].header.cards:
            if card.keyword and card.keyword not in header and card.keyword not in {"", "COMMENT"}:
                header.append(card)
    return header


def _sized(header: fits.Header, shape: tuple[int, int]) -> fits.Header:
    sized = header.copy()
    sized["NAXIS"], sized["NAXIS1"], sized["NAXIS2"] = 2, shape[1], shape[0]
    return sized
