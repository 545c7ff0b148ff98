"""Plain FITS images: one image with a celestial WCS, and whatever else the file offers."""

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from residua.errors import UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.storage.forms.calibration import calibrate
from residua.storage.forms.mask_planes import afw_planes, archive_planes, remap
from residua.storage.forms.wcs import wcs_from_header
from residua.storage.read.contents import FileContents, ReadOptions, finish
from residua.storage.read.header_metadata import metadata_from_header
from residua.storage.read.sky_level import count_variance, estimate_sky
from residua.subtraction.masks import MaskBit

__all__ = ["read_plain_fits"]

_GAIN_CARDS = ("GAIN", "EGAIN", "GAINEFF", "ARAWGAIN", "CCDGAIN", "GAINA")
_READ_NOISE_CARDS = ("RDNOISE", "READNOIS", "ENOISE", "RON", "RDNOISEA", "CCDRON")
_SATURATION_CARDS = ("SATURATE", "SATLEVEL", "MAXLIN")
_VARIANCE_NAMES = ("VARIANCE", "VAR", "VARIMAGE")
_WEIGHT_NAMES = ("WEIGHT", "WGT", "WT", "WTMAP", "IVAR", "INVVAR", "INVVARIANCE")
_SIGMA_NAMES = ("ERR", "ERROR", "SIGMA", "UNCERT", "RMS", "STD")
_MASK_NAMES = ("MASK", "DQ", "FLAGS", "BPM", "DQM")


def read_plain_fits(
    hdus: fits.HDUList, name: str, instruments: InstrumentRegistry, options: ReadOptions
) -> FileContents:
    """Read a FITS image whose only promise is a celestial WCS.

    The file's one image on the sky is taken, or the one named SCI or IMAGE. Variance comes
    from an extension named like a variance, weight (inverse variance) or error plane; else
    from ``GAIN`` and ``RDNOISE`` with the sky of `residua.storage.read.sky_level`; else from the
    noise of the image itself. A smooth sky is subtracted unless a variance plane came with
    the image and its sky is below the noise of one pixel (the subtraction fits what is left).
    ``SATURATE`` flags saturated pixels; a mask extension without plane names flags ``BAD``
    where it is not zero. The PSF is left to be measured from the stars.

    Raises
    ------
    residua.errors.NoWcsError, residua.errors.UnknownUnitError
        See their messages.
    residua.errors.UnusableImageError
        No two-dimensional image, several of them, or no finite pixel.
    """
    hdu = _image_hdu(hdus, name)
    header = _full_header(hdus, hdu)
    data = np.asarray(hdu.data, dtype=np.float64 if hdu.data.dtype.itemsize > 4 else np.float32)
    wcs = wcs_from_header(_sized(hdu.header if "CTYPE1" in hdu.header else header, data), name)
    metadata = metadata_from_header(
        header,
        instruments,
        visit_from=options.visit_from,
        detector_from=options.detector_from,
    )
    calibration = calibrate(
        header.get("BUNIT"),
        header,
        name,
        exposure_time=metadata.exposure_time,
        zero_point=options.zero_point,
    )
    good = np.isfinite(data)
    if not good.any():
        raise UnusableImageError(
            f"{name} has no usable pixel: all {data.size} are NaN; write the file again",
            pixels=data.size,
            usable=0,
        )
    mask = _mask_plane(hdus, data)
    mask[good & _saturated(data, header)] |= np.int32(MaskBit.SATURATED)
    given = _variance_plane(hdus, hdu, data.shape)
    sky = estimate_sky(data, good & (mask == 0))
    has_noise = np.isfinite(sky.noise) and sky.noise > 0.0
    if given is not None:
        variance: npt.NDArray[np.floating[Any]] = given
    else:
        gain = _positive(header, _GAIN_CARDS)
        rate = calibration.native_unit.replace(" ", "").endswith(("/s", "s-1"))
        exposure = metadata.exposure_time or 1.0
        electrons = "electron" in calibration.native_unit
        if gain is not None and (calibration.native_unit != "nJy"):
            variance = count_variance(
                data,
                sky,
                header,
                1.0 if electrons else gain,
                _positive(header, _READ_NOISE_CARDS) or 0.0,
                scale=exposure if rate else 1.0,
            )
        elif has_noise:
            variance = np.full(data.shape, sky.noise**2, np.float32)
        else:
            raise UnusableImageError(
                f"{name} has no variance plane, no GAIN card and no measurable noise: add one"
            )
    subtract_sky = given is None or (has_noise and abs(sky.level) > sky.noise)
    image = (data - sky.background if subtract_sky else data).astype(np.float32)
    planes = finish(image, np.where(good, variance, np.nan), mask, calibration.factor, name)
    return FileContents(
        *planes,
        wcs=wcs,
        psf=None,
        unit=calibration.unit,
        metadata=metadata,
        photometric_scaling=calibration.scaling,
        native_unit=calibration.native_unit,
    )


def _image_hdu(hdus: fits.HDUList, name: str) -> Any:
    auxiliary = {*_VARIANCE_NAMES, *_WEIGHT_NAMES, *_SIGMA_NAMES, *_MASK_NAMES}
    images = [
        h
        for h in hdus
        if getattr(h, "is_image", False) and len(h.shape) == 2 and h.name.upper() not in auxiliary
    ]
    if not images:
        raise UnusableImageError(f"{name} holds no two-dimensional image")
    for wanted in ("SCI", "IMAGE"):
        named = [h for h in images if h.name.upper() == wanted]
        if len(named) == 1:
            return named[0]
    on_sky = [h for h in images if "CTYPE1" in h.header]
    if len(on_sky) > 1:
        raise UnusableImageError(
            f"{name} holds {len(on_sky)} images on the sky; give each detector a file of its own",
            images=len(on_sky),
        )
    return (on_sky or images)[0]


def _full_header(hdus: fits.HDUList, hdu: Any) -> fits.Header:
    # Multi-extension files keep what all extensions share in the primary header.
    header = hdu.header.copy()
    if hdu is not hdus[0]:
        for card in hdus[0].header.cards:
            if card.keyword and card.keyword not in header and card.keyword not in {"", "COMMENT"}:
                header.append(card)
    return header


def _sized(header: fits.Header, data: npt.NDArray[Any]) -> fits.Header:
    sized = header.copy()
    sized["NAXIS"], sized["NAXIS1"], sized["NAXIS2"] = 2, data.shape[1], data.shape[0]
    return sized


def _extension(hdus: fits.HDUList, names: tuple[str, ...], shape: tuple[int, ...]) -> Any:
    for hdu in hdus:
        if hdu.name.upper() in names and getattr(hdu, "is_image", False) and hdu.shape == shape:
            return hdu
    return None


def _variance_plane(
    hdus: fits.HDUList, image: Any, shape: tuple[int, ...]
) -> npt.NDArray[np.float64] | None:
    for names, power in ((_VARIANCE_NAMES, 1), (_WEIGHT_NAMES, -1), (_SIGMA_NAMES, 2)):
        hdu = _extension(hdus, names, shape)
        if hdu is not None and hdu is not image:
            plane = np.asarray(hdu.data, np.float64)
            plane = np.where(plane > 0.0, plane, np.nan)
            return np.asarray(plane**power, dtype=np.float64)
    return None


def _mask_plane(hdus: fits.HDUList, data: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    hdu = _extension(hdus, _MASK_NAMES, data.shape)
    if hdu is None:
        return np.zeros(data.shape, np.int32)
    values = np.asarray(hdu.data)
    planes = archive_planes(hdu.header) or afw_planes(hdu.header)
    if planes:
        return remap(values.astype(np.int64), planes)
    return np.where(values != 0, np.int32(MaskBit.BAD), np.int32(0)).astype(np.int32)


def _saturated(data: npt.NDArray[Any], header: fits.Header) -> npt.NDArray[np.bool_]:
    level = _positive(header, _SATURATION_CARDS)
    sky = _positive(header, ("ESATUR",))
    # ESATUR: what remains of SATURATE once the sky has been subtracted.
    level = min(level, sky) if level is not None and sky is not None else level
    if level is None:
        return np.zeros(data.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        return np.asarray(data >= level)


def _positive(header: fits.Header, keys: tuple[str, ...]) -> float | None:
    for key in keys:
        value = header.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
    return None
