"""Planes scaled, and what cannot be used flagged, in one pass over the pixels."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from residua.errors import UnusableImageError
from residua.subtraction.masks import MaskBit

__all__ = ["finish", "scale_and_flag"]


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
