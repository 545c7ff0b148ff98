"""What a reader hands on: the planes of one file and what it says about itself."""

from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua.errors import UnusableImageError
from residua.storage.read.metadata import FileMetadata
from residua.subtraction.images import PsfModel
from residua.subtraction.masks import MaskBit
from residua_schemas import ImageReading

__all__ = ["FileContents", "PixelReport", "ReadOptions", "finish", "scale_and_flag"]


@dataclass(frozen=True)
class ReadOptions:
    """Choices of the operator that change how files are read.

    Parameters
    ----------
    zero_point
        AB magnitude of one unit of the image, for files that do not say.
    threads
        Threads to decompress in; they do not change a bit.
    visit_from, detector_from
        Cards of the identity, see `residua.storage.conventions.identity`.
    extension
        Name or number of the extension that holds the image.
    gain
        Electrons per count.
    saturation
        Pixel value from which on pixels are saturated.
    band
        Band of the image, for zero points in Vega magnitudes.
    bad_bits
        Bits of the mask that make a pixel unusable.
    """

    zero_point: float | None = None
    threads: int = 1
    visit_from: str | None = None
    detector_from: str | None = None
    extension: str | None = None
    gain: float | None = None
    saturation: float | None = None
    band: str | None = None
    bad_bits: int | None = None

    def as_read(self, reading: ImageReading | None) -> "ReadOptions":
        """Return these options with what an event says of its file."""
        if reading is None:
            return self
        asked = {name: getattr(reading, name) for name in _OF_EVENTS}
        return replace(self, **{name: value for name, value in asked.items() if value is not None})


_OF_EVENTS = ("extension", "gain", "saturation", "bad_bits", "zero_point")


@dataclass(frozen=True)
class PixelReport:
    """What the pixels of a file were found to be.

    Parameters
    ----------
    gain, gain_source
        Electrons per count, and the card it comes from.
    variance_source, mask_source
        The planes, files or cards the noise and the mask come from.
    saturation
        The card and the value from which on pixels are saturated.
    predicted_noise, measured_noise
        Of one pixel of the sky, in the unit of the image.
    noise_ratio
        Measured over predicted variance, see `residua.storage.conventions.noise`.
    sky, sky_subtracted
        Its level in the file's unit, and whether it was taken away.
    notes
        What was assumed, or found and not used.
    """

    gain: float | None = None
    gain_source: str = ""
    variance_source: str = ""
    mask_source: str = ""
    saturation: str = ""
    predicted_noise: float = float("nan")
    measured_noise: float = float("nan")
    noise_ratio: float = float("nan")
    sky: float = float("nan")
    sky_subtracted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileContents:
    """One image file, calibrated if it can be.

    Parameters
    ----------
    image, variance, mask, wcs, psf, unit
        As in `residua.subtraction.images.ScienceImage`.
    metadata
        What the file says about its observation.
    photometric_scaling
        nJy per native unit, applied already; `None` if the image is in its own unit.
    native_unit
        Unit of the pixels as found.
    report
        What was found on the way, for people to read.
    """

    image: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]
    wcs: BaseLowLevelWCS
    psf: PsfModel | None
    unit: str
    metadata: FileMetadata
    photometric_scaling: float | None
    native_unit: str
    report: PixelReport = PixelReport()


def finish(
    image: npt.NDArray[Any],
    variance: npt.NDArray[Any],
    mask: npt.NDArray[np.int32],
    factor: float | npt.NDArray[np.float64],
    name: str,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Scale the planes, in place where they allow it, and flag what cannot be used.

    Pixels that are not finite, or have no positive variance, become NaN in both planes and
    ``NO_DATA``; NaNs in the image that the file had not masked are ``UNMASKED_NAN`` as well.

    Raises
    ------
    residua.errors.UnusableImageError
        No usable pixel, or planes of different shapes.
    """
    if image.shape != variance.shape or image.shape != mask.shape or image.ndim != 2:
        raise UnusableImageError(
            f"{name} has planes of different shapes: image {image.shape}, variance "
            f"{variance.shape}, mask {mask.shape}"
        )
    scaled, scaled_variance, flagged, count = scale_and_flag(image, variance, mask, factor)
    if count == scaled.size:
        raise UnusableImageError(
            f"{name} has no usable pixel: all {count} are NaN or without variance; "
            "write the file again",
            pixels=count,
            usable=0,
        )
    return scaled, scaled_variance, flagged


def scale_and_flag(
    image: npt.NDArray[Any],
    variance: npt.NDArray[Any],
    mask: npt.NDArray[np.int32],
    factor: float | npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32], int]:
    """Do the work of `finish` on planes or on parts of them; also return the pixels of no use."""
    scaled = _own(image, np.float32)
    scaled_variance = _own(variance, np.float32)
    flagged = _own(mask, np.int32)
    if not np.isscalar(factor):
        scaled *= np.asarray(factor, np.float32)
        scaled_variance *= np.asarray(np.square(factor), np.float32)
    scalar = float(factor) if np.isscalar(factor) else 1.0
    count = _scale_and_flag(
        scaled,
        scaled_variance,
        flagged,
        np.float32(scalar),
        np.float32(scalar * scalar),
        np.int32(MaskBit.NO_DATA),
        np.int32(MaskBit.UNMASKED_NAN),
    )
    return scaled, scaled_variance, flagged, count


def _own[T: np.generic](plane: npt.NDArray[Any], dtype: type[T]) -> npt.NDArray[T]:
    # Native, contiguous, and ours to write to.
    array = np.array(plane, dtype=dtype, order="C", copy=None)
    return array if array.flags.writeable else array.copy()


@numba.njit(nogil=True, cache=True)
def _scale_and_flag(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    factor: np.float32,
    factor_squared: np.float32,
    no_data: np.int32,
    unmasked_nan: np.int32,
) -> int:
    # One pass over the pixels instead of ten; returns the number of those of no use.
    count = 0
    ny, nx = image.shape
    for j in range(ny):
        for i in range(nx):
            value = image[j, i] * factor
            noise = variance[j, i] * factor_squared
            if np.isfinite(value) and noise > 0.0 and np.isfinite(noise):
                image[j, i] = value
                variance[j, i] = noise
                continue
            # A pixel without variance was left out on purpose; a NaN nobody masked was not.
            if not np.isfinite(value) and mask[j, i] & no_data == 0:
                mask[j, i] |= unmasked_nan
            mask[j, i] |= no_data
            image[j, i] = np.nan
            variance[j, i] = np.nan
            count += 1
    return count
