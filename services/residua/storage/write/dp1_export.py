"""A difference image in the layout of Data Preview 1, for tools that expect it.

IMAGE, MASK with ``MP_`` cards and afw's plane names, VARIANCE: what afw's masked image holds.
The binary tables of an ``ExposureF`` (PSF, exact WCS, photometric calibration, detector) are the
stack's own serialization and are not there: the FITS WCS cards (TAN or TAN-SIP) stand for the
WCS, the unit (nJy) for the calibration, ``PSFFWHM`` for the PSF.
"""

import io

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from residua.errors import CorruptFileError
from residua.storage.forms.mask_planes import DP1_NAMES, archive_planes
from residua.storage.read.lsst_images_files import is_lsst_images

__all__ = ["AFW_BITS", "dp1_layout"]

# Bits 0 to 8 are the same in every afw mask; the others are found by their cards.
AFW_BITS = {
    name: bit
    for bit, name in enumerate(
        (
            *("BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "SUSPECT"),
            *("NO_DATA", "CROSSTALK", "NOT_DEBLENDED", "UNMASKEDNAN", "VIGNETTED"),
            *("PARTLY_VIGNETTED", "ITL_DIP", "SPIKE", "SAT_TEMPLATE", "HIGH_VARIANCE", "STREAK"),
        )
    )
}
"""Bit of each plane of the exported mask, by its name in Data Preview 1."""

_OLD_NAMES = {new: old for old, new in DP1_NAMES.items()}
# About the container of lsst.images, which the exported file is not.
_CONTAINER_CARDS = frozenset(
    {"FMTVER", "INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE", "DATAMODL", "CHECKSUM", "DATASUM"}
)
_STRUCTURE = frozenset(
    {"XTENSION", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND"}
)


def dp1_layout(content: bytes, name: str) -> bytes:
    """Return a difference image file in the layout of Data Preview 1.

    Pixels, variances and the mask's planes are the same to the bit; only the mask's bits move.
    The same input gives the same bytes.

    Parameters
    ----------
    content
        A file of ``lsst.images``, as Residua writes it.
    name
        What to call it in errors.

    Raises
    ------
    residua.errors.CorruptFileError
        It is no such file, or lacks a plane.
    """
    try:
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            if not is_lsst_images(hdus):
                raise CorruptFileError(f"{name} is no file of lsst.images; give a difference image")
            output = _convert(hdus)
            buffer = io.BytesIO()
            output.writeto(buffer)
    except (OSError, KeyError, ValueError, TypeError) as e:
        raise CorruptFileError(f"{name} cannot be exported: {type(e).__name__}: {e}") from e
    return buffer.getvalue()


def _convert(hdus: fits.HDUList) -> fits.HDUList:
    primary = fits.PrimaryHDU()
    primary.header.extend(_cards(hdus[0].header), unique=True)
    primary.header["EXPORT"] = ("dp1", "Layout; made from lsst.images, planes unchanged")
    image, variance = (
        fits.ImageHDU(
            np.asarray(hdus[name].data, np.float32), fits.Header(_cards(hdus[name].header)), name
        )
        for name in ("IMAGE", "VARIANCE")
    )
    mask = fits.ImageHDU(_mask(hdus["MASK"]), _wcs_cards(hdus["IMAGE"].header), "MASK")
    for plane, bit in AFW_BITS.items():
        mask.header[_keyword(plane)] = bit
    for hdu in (image, mask, variance):
        hdu.header["EXTTYPE"] = hdu.name
    return fits.HDUList([primary, image, mask, variance])


def _mask(hdu: fits.ImageHDU) -> npt.NDArray[np.int32]:
    source = np.asarray(hdu.data, np.int32)
    mask = np.zeros(source.shape, np.int32)
    for plane, bit in archive_planes(hdu.header).items():
        target = AFW_BITS.get(_OLD_NAMES.get(plane, plane))
        if target is None:
            raise ValueError(f"mask plane {plane} has no place in the layout of Data Preview 1")
        mask |= ((source >> bit) & 1) << target
    return mask


def _wcs_cards(header: fits.Header) -> fits.Header:
    return fits.Header([c for c in _cards(header) if c.keyword != "BUNIT"])


def _cards(header: fits.Header) -> list[fits.Card]:
    return [
        card
        for card in header.cards
        if card.keyword not in _CONTAINER_CARDS | _STRUCTURE | {"EXTNAME", "EXTVER"}
    ]


def _keyword(plane: str) -> str:
    keyword = f"MP_{plane}"
    return keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"
