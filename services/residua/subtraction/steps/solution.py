"""All that is global about one subtraction, in the form in which it is applied and kept.

`residua.subtraction.solve.solve` makes a solution; `residua.subtraction.steps.apply.apply` makes
the image of it. Every number here has been rounded to its kept form before anything used it, so an
image made again from a solution that was written down is the first one, bit for bit.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.align.warp_plan import WarpPlan, plan_warp
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.detections import Detection
from residua.subtraction.engine.filter_tables import VaryingKernel
from residua.subtraction.images import (
    ConvolvedImage,
    MatchingKernel,
    PsfModel,
    ScienceImage,
    TemplateImage,
)
from residua.subtraction.match.basis import KernelBasis
from residua.subtraction.noise.decorrelation_filters import DecorrelationFilters
from residua.subtraction.pieces.use import KernelPieces
from residua.subtraction.quality import QualityRecord

__all__ = [
    "ARITHMETIC",
    "MAP_BITS",
    "SCIENCE_PSF_BITS",
    "InputUse",
    "KernelUse",
    "Solution",
    "TemplateUse",
    "fingerprint",
]

ARITHMETIC = 1
"""Number of the pixel passes' arithmetic: grows with any change of a pass, a constant or an
order of sums that changes a bit. Solutions of another number are refused."""

MAP_BITS = 20
SCIENCE_PSF_BITS = 24
"""Pixel maps are in multiples of 2^-20 px, the science image's PSF of 2^-24."""

_STRIDE = 61
"""Every so many rows of an input go into its fingerprint."""


@dataclass(frozen=True)
class InputUse:
    """What an input was, and what was found in it.

    Parameters
    ----------
    shape
        (ny, nx), pixels.
    fingerprint
        Of a sample of its pixels: see `fingerprint`.
    saturation
        Pixel value from which on pixels are saturated, where its mask does not say; unit of the
        image.
    """

    shape: tuple[int, int]
    fingerprint: str
    saturation: float | None


@dataclass(frozen=True)
class TemplateUse:
    """A template patch and the map onto it.

    Parameters
    ----------
    input
        What it was.
    name
        Its name.
    pixel_map
        From the science image's pixels to its own, registration included, in multiples of
        2^-20 px.
    """

    input: InputUse
    name: str
    pixel_map: PixelMap


@dataclass(frozen=True)
class KernelUse:
    """The matching kernel.

    Parameters
    ----------
    kernel
        As users see it, with its differential background.
    basis
        Its basis as products of one-dimensional functions.
    applied
        The tables with which it is applied.
    reach
        Radius that holds 99 % of it, pixels.
    border
        Width of the border on which it lacks pixels.
    pieces
        Kernels of the template's pieces, where its PSF jumps between them.
    """

    kernel: MatchingKernel
    basis: KernelBasis
    applied: VaryingKernel
    reach: int
    border: int
    pieces: KernelPieces | None = None


@dataclass(frozen=True)
class Solution:
    """What `solve` found; all arrays are read-only.

    Parameters
    ----------
    arithmetic
        See `ARITHMETIC`.
    config
        The choices it was made with.
    shape
        (ny, nx) of the science image.
    unit
        Of the images.
    convolved
        Which image the kernel convolves.
    science
        The science image.
    templates
        The template patches, in their order.
    sharpness, template_sharpness
        Part of a pixel that its neighbours must reach, or it is a cosmic ray, in the science
        image and in the template; `None` where the PSF is too sharp to tell.
    kernel
        The matching kernel.
    filters
        Decorrelation, propagation of the variance, PSF of the difference.
    science_psf
        PSF of the science image.
    streaks
        float64 (n, 6): marked trails; start x, y, direction x, y, length, half width, pixels.
    footprints
        int32 (n, 4): runs of pixels with ``DETECTED`` (1) or ``DETECTED_NEGATIVE`` (-1): row,
        first and last column, sign.
    sharp
        int32 (n, 2): x, y of detections too sharp to be one, marked ``COSMIC_RAY``.
    detections
        The detections.
    quality
        The quality record.
    """

    arithmetic: int
    config: SubtractionConfig
    shape: tuple[int, int]
    unit: str
    convolved: ConvolvedImage
    science: InputUse
    templates: tuple[TemplateUse, ...]
    sharpness: float | None
    template_sharpness: float | None
    kernel: KernelUse
    filters: DecorrelationFilters
    science_psf: PsfModel
    streaks: npt.NDArray[np.float64]
    footprints: npt.NDArray[np.int32]
    sharp: npt.NDArray[np.int32]
    detections: tuple[Detection, ...]
    quality: QualityRecord

    @cached_property
    def warp_plan(self) -> WarpPlan:
        """Where every tile comes from: follows from the maps, and is worked out once."""
        return plan_warp(
            [t.input.shape for t in self.templates],
            [t.pixel_map for t in self.templates],
            self.shape,
        )

    def __post_init__(self) -> None:
        """Make all arrays read-only."""
        for array in _arrays(self):
            array.setflags(write=False)


def _arrays(value: object) -> Iterable[npt.NDArray[np.generic]]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple) and value and not isinstance(value[0], Detection):
        for item in value:
            yield from _arrays(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays(getattr(value, field.name))


def fingerprint(image: ScienceImage | TemplateImage) -> str:
    """Digest of the shape, the unit and every 61st row of the three planes.

    It tells one image from another, and an image from itself after a change of its calibration;
    that single pixels are the same is what the checksums of files are for.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{image.image.shape} {image.unit}".encode())
    for plane, kind in ((image.image, "<f4"), (image.variance, "<f4"), (image.mask, "<i4")):
        digest.update(np.ascontiguousarray(plane[::_STRIDE], dtype=kind).tobytes())
    return digest.hexdigest()
