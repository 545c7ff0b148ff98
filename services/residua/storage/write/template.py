"""Template coadds as ``lsst.images.MaskedImage``, and planes of images ready to be written."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io.fits import Header
from lsst.images import Box, MaskedImage, MaskPlane, MaskSchema, TractFrame

from residua.storage.forms.archive import EPOCH, PackedMask, PlaneImage, write_file
from residua.storage.forms.codec import compress_lossless, compress_quantised
from residua.storage.forms.wcs import header_wcs, sky_projection
from residua.storage.write.observation_info import set_card
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = ["archive_planes", "write_planes", "write_template"]

_TEMPLATE_PLANES = [
    MaskPlane(bit.name or "", f"{(bit.name or '').replace('_', ' ').capitalize()}.")
    for bit in MaskBit
]


def write_template(
    path: Path,
    template: TemplateImage,
    *,
    skymap: str,
    tract: int,
    patch: int,
    band: str,
    lossless: bool = True,
    threads: int = 1,
    more_cards: Callable[[Header], None] | None = None,
) -> None:
    """Write a template patch as an ``lsst.images.MaskedImage`` on a tract's pixel grid.

    A ``MaskedImage`` holds no PSF: it is measured from the stars when read.

    Parameters
    ----------
    path
        Where; must not exist.
    template
        The patch.
    skymap, tract, patch, band
        What it is a patch of; also in the primary header (``SKYMAP``, ``TRACT``, ``PATCH``,
        ``BAND``).
    lossless, threads
        As for `residua.storage.write.image_file.write_difference_image`.
    more_cards
        Adds cards to the primary header.
    """
    shape = (template.image.shape[0], template.image.shape[1])
    bbox = Box.factory[0 : shape[0], 0 : shape[1]]
    frame = TractFrame(skymap=skymap, tract=tract, bbox=bbox)
    projection = sky_projection(template.wcs, frame, shape)
    obj = MaskedImage(
        **archive_planes(template, projection, shape, _TEMPLATE_PLANES), sky_projection=projection
    )

    def update_header(header: Header) -> None:
        set_card(header, "SKYMAP", skymap, "Sky map")
        set_card(header, "TRACT", tract, "Tract number")
        set_card(header, "PATCH", patch, "Patch number")
        set_card(header, "BAND", band, "Band")
        if more_cards is not None:
            more_cards(header)

    write_planes(path, obj, template, update_header, EPOCH, lossless, threads)


def archive_planes(
    image: ScienceImage | TemplateImage,
    projection: Any,
    shape: tuple[int, int],
    planes: list[Any],
) -> dict[str, Any]:
    """Return image, mask and variance as ``lsst.images`` has them."""
    bbox = Box.factory[0 : shape[0], 0 : shape[1]]
    wcs = header_wcs(image.wcs, shape)
    unit = u.Unit(image.unit)
    schema = MaskSchema(planes, dtype=np.uint8)
    mask = image.mask & np.int32((1 << len(planes)) - 1)
    return {
        "image": PlaneImage(image.image, wcs, bbox=bbox, unit=unit, sky_projection=projection),
        "mask": PackedMask(mask, schema, wcs, bbox=bbox, sky_projection=projection),
        "variance": PlaneImage(image.variance, wcs, bbox=bbox, unit=unit**2),
    }


def write_planes(
    path: Path,
    obj: Any,
    image: ScienceImage | TemplateImage,
    update_header: Callable[[Header], None],
    date: datetime,
    lossless: bool,
    threads: int,
) -> None:
    """Write an object of ``lsst.images`` with the planes of an image, compressed here."""
    mask = image.mask & np.int32((1 << len(obj.mask.schema)) - 1)
    with ThreadPoolExecutor(threads) as pool:
        fluxes = (image.image, image.variance)
        planes = compress_lossless(fluxes, pool) if lossless else compress_quantised(*fluxes, pool)
        planes += compress_lossless([mask], pool)
    named = dict(zip(("IMAGE", "VARIANCE", "MASK"), planes, strict=True))
    write_file(obj, path, named, update_header, date)
