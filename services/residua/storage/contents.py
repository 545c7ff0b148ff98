"""What a reader hands on: the planes of one file and what it says about itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua.errors import UnusableImageError
from residua.storage.metadata import FileMetadata
from residua.subtraction.images import PsfModel
from residua.subtraction.masks import MaskBit

__all__ = ["FileContents", "ReadOptions", "finish"]


@dataclass(frozen=True)
class ReadOptions:
    """Choices of the operator that change how files are read.

    Parameters
    ----------
    zero_point
        AB magnitude of one unit of the image, for files that do not say.
    """

    zero_point: float | None = None


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


def finish(
    image: npt.NDArray[Any],
    variance: npt.NDArray[Any],
    mask: npt.NDArray[np.int32],
    factor: float | npt.NDArray[np.float64],
    name: str,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Scale the planes and flag what cannot be used.

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
    scaled = np.array(image, dtype=np.float32, order="C", copy=True)
    scaled_variance = np.array(variance, dtype=np.float32, order="C", copy=True)
    if not (np.isscalar(factor) and factor == 1.0):
        scaled *= np.asarray(factor, np.float32)
        scaled_variance *= np.asarray(np.square(factor), np.float32)
    bad = ~(np.isfinite(scaled) & (scaled_variance > 0.0) & np.isfinite(scaled_variance))
    count = int(np.count_nonzero(bad))
    if count == bad.size:
        raise UnusableImageError(
            f"{name} has no usable pixel: all {bad.size} are NaN or without variance; "
            "write the file again",
            pixels=bad.size,
            usable=0,
        )
    flagged = np.array(mask, dtype=np.int32, order="C", copy=True)
    if count:
        # A pixel without variance was left out on purpose; a NaN nobody masked was not.
        unexpected = ~np.isfinite(image) & ((flagged & np.int32(MaskBit.NO_DATA)) == 0)
        scaled[bad] = np.nan
        scaled_variance[bad] = np.nan
        flagged[bad] |= np.int32(MaskBit.NO_DATA)
        flagged[unexpected] |= np.int32(MaskBit.UNMASKED_NAN)
    return scaled, scaled_variance, flagged
