"""The pixels of a plain FITS image: linear, calibrated, flagged, with a noise that was checked."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from residua.errors import UnusableImageError
from residua.storage.conventions.blanks import find_blanks
from residua.storage.conventions.noise import check_noise, sampled
from residua.storage.read.file_contents import FileContents, PixelReport
from residua.storage.read.flagging import finish
from residua.storage.read.plain.companions import companion_plane
from residua.storage.read.plain.mask_bits import flagged
from residua.storage.read.plain.plain_gain import gain_of, read_noise_of
from residua.storage.read.plain.plain_image import PlainImage
from residua.storage.read.plain.plain_variance import (
    checked_variance,
    given_noise,
    predicted_variance,
)
from residua.storage.read.plain.saturated_pixels import find_saturated
from residua.storage.read.plain.sky_level import estimate_sky, sky_is_gone
from residua.storage.read.plain.slow_sky import estimate_slow_sky
from residua.storage.read.plain.stored_pixels import linear_pixels
from residua.subtraction.masks import MaskBit

__all__ = ["decode"]


def decode(image: PlainImage) -> FileContents:
    """Decode the pixels.

    Variance comes from a plane or a file of variances, weights or errors; else from the gain
    and the read noise; else from the noise of the image itself. Whatever it comes from is
    compared with the noise of the sky's pixels, and where that is another by a factor of two,
    what was measured is believed. A smooth sky is subtracted unless a variance plane came with
    the image and its sky is below the noise of one pixel (the subtraction fits what is left).
    Fill values, saturated pixels and what the mask calls bad are flagged. The PSF is left to be
    measured from the stars.

    Raises
    ------
    residua.errors.UnusableImageError
        No usable pixel, no noise to be had, or a mask or weight map given for an image.
    """
    notes: list[str] = []
    unit = image.calibration.unit_found
    data = linear_pixels(image, notes)
    finite = np.isfinite(data)
    if not finite.any():
        raise UnusableImageError(
            f"{image.name} has no usable pixel: all {data.size} are NaN; write the file again",
            pixels=data.size,
            usable=0,
        )
    blanks = find_blanks(data, finite)
    notes.extend(blanks.notes)
    saturated, saturation = find_saturated(image, data, notes)
    _forget(image.hdu)
    good = finite & ~blanks.no_data
    data[~good] = np.nan
    mask, mask_source = _mask(image, data, notes)
    mask[good & (saturated | blanks.saturated)] |= np.int32(MaskBit.SATURATED)
    free = good & (mask == 0)
    given = given_noise(image.planes, image.companions, data.shape, image.hdu)
    gone = None if given is None else sky_is_gone(data, free)
    if gone is not None:
        flat, (sky_level, sky_noise) = data, gone
    else:
        sky = (estimate_sky if given is None else estimate_slow_sky)(data, free)
        flat, sky_level, sky_noise = data - sky.background, sky.level, sky.noise
    _refuse_what_is_no_image(image, sampled(flat), sampled(free))
    factor = unit.to_njy or 1.0
    gain, gain_source = (None, "") if given is not None else gain_of(image, flat, free, notes)
    if given is not None:
        variance, check = checked_variance(given, flat, free, factor, notes)
        source = given.source
        given = replace(given, plane=np.empty((0, 0)))
        for plane in image.planes:
            _forget(plane.hdu)
    else:
        variance, source = predicted_variance(
            data,
            flat,
            free,
            sky,
            image.header,
            image.name,
            gain=gain,
            read_noise=read_noise_of(image),
            scale=(image.metadata.exposure_time or 1.0) if unit.rate else 1.0,
            notes=notes,
        )
        check = check_noise(flat, variance, free)
    has_noise = np.isfinite(sky_noise) and sky_noise > 0.0
    subtract_sky = given is None or (has_noise and abs(sky_level) > sky_noise)
    variance[~good] = np.nan
    # Fluxes have been scaled already.
    factor = 1.0 if unit.to_njy is not None else image.calibration.factor
    planes = finish(
        flat if subtract_sky else data,
        variance,
        mask,
        factor,
        image.name,
    )
    report = PixelReport(
        gain=gain,
        gain_source=gain_source,
        variance_source=source,
        mask_source=mask_source,
        saturation=saturation,
        predicted_noise=check.predicted * factor,
        measured_noise=check.measured * factor,
        noise_ratio=check.ratio,
        sky=sky_level,
        sky_subtracted=subtract_sky,
        notes=tuple(notes),
    )
    return FileContents(
        *planes,
        wcs=image.wcs,
        psf=None,
        unit=image.calibration.unit,
        metadata=image.metadata,
        photometric_scaling=image.calibration.scaling,
        native_unit=image.calibration.native_unit,
        report=report,
    )


def _forget(hdu: Any) -> None:
    # Its pixels as they were read; astropy would keep them beside ours.
    if hdu.fileinfo() is not None:
        with suppress(AttributeError):
            del hdu.data


def _refuse_what_is_no_image(
    image: PlainImage, flat: npt.NDArray[np.float32], free: npt.NDArray[np.bool_]
) -> None:
    pairs = (flat[:, 1:] - flat[:, :-1])[free[:, 1:] & free[:, :-1]]
    if pairs.size > 1000 and float(np.median(np.abs(pairs))) == 0.0:
        raise UnusableImageError(
            f"{image.name} has no noise: more than half of its pixels are like their neighbours; "
            "a weight map or a mask, not an image? Give such files with --weight or --mask"
        )


def _mask(
    image: PlainImage, data: npt.NDArray[np.float32], notes: list[str]
) -> tuple[npt.NDArray[np.int32], str]:
    plane, header, source = None, None, ""
    if "mask" in image.companions:
        plane, header = companion_plane(image.companions["mask"], "mask", data.shape, image.hdu)
        source = "the mask file"
    else:
        for candidate in image.planes:
            if candidate.role == "mask":
                plane, header = np.asarray(candidate.hdu.data), candidate.hdu.header
                plane, source = plane.reshape(plane.shape[-2:]), candidate.source
    if plane is None or header is None:
        return np.zeros(data.shape, np.int32), ""
    mask, said = flagged(plane, header, data, image.instrument, image.options.bad_bits)
    notes.extend(said)
    return mask, source
