"""Checks of the input images and their cleaning, before anything is computed from them."""

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.threads import run_strips
from residua.subtraction.errors import BadImageError, caused_by
from residua.subtraction.images import FloatPlane, MaskPlane, ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = ["check_images", "clean_science"]

_NOT_INHERITED = ~int(
    MaskBit.DETECTED
    | MaskBit.DETECTED_NEGATIVE
    | MaskBit.SAT_TEMPLATE
    | MaskBit.CLIPPED
    | MaskBit.REJECTED
    | MaskBit.INEXACT_PSF
    | MaskBit.SENSOR_EDGE
)
_NO_VALUE = int(MaskBit.NO_DATA | MaskBit.UNMASKED_NAN)
_NO_DATA = int(MaskBit.NO_DATA)


def check_images(science: ScienceImage, templates: Sequence[TemplateImage]) -> None:
    """Raise unless the planes fit together and are in one unit.

    Raises
    ------
    BadImageError
        If a plane has another shape than its image, is not two-dimensional, the units differ,
        or the science image has no pixel with a finite value and a positive variance.
    """
    named: list[tuple[str, ScienceImage | TemplateImage]]
    named = [("the science image", science), *((f"template {t.name}", t) for t in templates)]
    for name, image in named:
        with caused_by("science" if image is science else "template"):
            _check_shapes(name, image)
        if image.unit != science.unit:
            # One of them is not calibrated: the one that is not in the unit of fluxes.
            with caused_by("template" if science.unit == "nJy" else "science"):
                raise BadImageError(
                    f"{name} is in {image.unit!r}, the science image in {science.unit!r}: "
                    "calibrate both to one unit"
                )


def _check_shapes(name: str, image: ScienceImage | TemplateImage) -> None:
    shape = image.image.shape
    if len(shape) != 2 or 0 in shape:
        raise BadImageError(f"{name} has the shape {shape}; a two-dimensional image is needed")
    for plane_name, plane in (("variance", image.variance), ("mask", image.mask)):
        if plane.shape != shape:
            raise BadImageError(
                f"the {plane_name} plane of {name} has the shape {plane.shape}, its image "
                f"{shape}: all planes of an image must have one shape"
            )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _clean_mask(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    inherited: np.int32,
    no_value: np.int32,
    no_data: np.int32,
    out: npt.NDArray[np.int32],
) -> int:
    n_bad = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            flags = mask[y, x] & inherited
            if not (np.isfinite(image[y, x]) and variance[y, x] > 0 and variance[y, x] < 1e30):
                # A pixel that says so itself is not an unexpected NaN.
                if (flags & no_data) == 0:
                    flags |= no_value
                n_bad += 1
            out[y, x] = flags
    return n_bad


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _replace(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if not (np.isfinite(image[y, x]) and variance[y, x] > 0 and variance[y, x] < 1e30):
                image[y, x] = 0.0
                variance[y, x] = 0.0


def clean_science(
    science: ScienceImage, mask: MaskPlane, *, part: bool = False, threads: int = 1
) -> tuple[FloatPlane, FloatPlane]:
    """Image, variance and mask without NaN, infinity and variances that are not positive.

    Such pixels become 0 in image and variance and get ``NO_DATA | UNMASKED_NAN``. Old
    detections and planes that only templates carry are dropped from the mask.

    Parameters
    ----------
    science
        The image as it came.
    mask
        int32 (ny, nx), overwritten with the cleaned mask.
    part
        It is a part of an image, which may well hold no usable pixel.
    threads
        Threads to use.

    Returns
    -------
    image, variance
        float32 (ny, nx); the input arrays themselves when they are clean.

    Raises
    ------
    BadImageError
        If no pixel is usable.
    """
    image = np.ascontiguousarray(science.image, dtype=np.float32)
    variance = np.ascontiguousarray(science.variance, dtype=np.float32)
    mask_in = np.ascontiguousarray(science.mask, dtype=np.int32)
    ny, nx = image.shape
    n_bad = np.zeros(ny, np.int64)

    def strip(first: int, end: int) -> None:
        rows = slice(first, end)
        n_bad[first] = _clean_mask(
            image[rows], variance[rows], mask_in[rows],
            np.int32(_NOT_INHERITED), np.int32(_NO_VALUE), np.int32(_NO_DATA), mask[rows],
        )  # fmt: skip

    run_strips(strip, ny, threads=threads)
    total = int(n_bad.sum())
    if total == ny * nx and not part:
        raise BadImageError(
            "the science image has no pixel with a finite value and a positive variance",
            usable_pixels=0,
            pixels=ny * nx,
        )
    if total:
        image, variance = image.copy(), variance.copy()
        _replace(image, variance)
    return image, variance
