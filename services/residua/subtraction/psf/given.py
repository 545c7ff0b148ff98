"""PSF models that come with the images: used first, after a look at the stars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.errors import InsufficientKernelStarsError, NumericalError
from residua.subtraction.images import (
    FloatPlane,
    MaskPlane,
    PsfModel,
    SpatialPolynomial,
    TemplateImage,
)
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.psf.adaptive_moments import stamp_width
from residua.subtraction.psf.measure import MeasuredPsf, psf_of_stars
from residua.subtraction.psf.star_search import select_psf_stars
from residua.subtraction.psf.stars import OtherImage

__all__ = ["ChosenPsf", "choose_psf", "given_template_psf"]

type Array = npt.NDArray[np.float64]

_STARS = 60
_LEAST_STARS = 8
_LARGEST_MISFIT = 0.10
"""Of the logarithm of the width, beyond which the stars are believed, not the model."""
_LARGEST_SCATTER = 0.05
_POSITIONS = 5


@dataclass(frozen=True)
class ChosenPsf:
    """A PSF and where it comes from.

    Parameters
    ----------
    psf
        The model, on the science image's pixels.
    given
        Whether it came with the image.
    width_ratio
        Width of the image's stars over that of the given model; NaN without either.
    measured
        Where it comes from, if it was measured.
    """

    psf: PsfModel
    given: bool
    width_ratio: float
    measured: MeasuredPsf | None = None


def choose_psf(
    given: PsfModel | None,
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    *,
    maximum_stars: int,
    other: OtherImage | None = None,
) -> ChosenPsf:
    """Take the given PSF model unless the image's stars contradict it, else measure one.

    Parameters
    ----------
    given
        The model that came with the image, on its pixels.
    image, variance, mask
        The image, background-subtracted.
    maximum_stars
        Stars to measure a PSF from at most.
    other
        Another image of the same sky, which has the stars and no hits.

    Raises
    ------
    InsufficientKernelStarsError
        If there is no model and no star to measure one from.
    NumericalError
        If there is no model and the stars found determine none.
    """
    if given is None:
        found = psf_of_stars(image, variance, mask, maximum_stars=maximum_stars, other=other)
        return ChosenPsf(found.psf, False, float("nan"), found)
    ratio = _width_ratio(given, image, variance, mask)
    if abs(np.log(ratio)) > _LARGEST_MISFIT:
        try:
            found = psf_of_stars(image, variance, mask, maximum_stars=maximum_stars, other=other)
        except (InsufficientKernelStarsError, NumericalError):
            return ChosenPsf(given, True, ratio)
        return ChosenPsf(found.psf, False, ratio, found)
    return ChosenPsf(given, True, ratio)


def _width_ratio(
    given: PsfModel, image: FloatPlane, variance: FloatPlane, mask: MaskPlane
) -> float:
    """Median width of the stars over that of the model at their places; NaN with too few."""
    sigma = noise_level(variance, mask, int(UNUSABLE))
    if not np.isfinite(sigma):
        return float("nan")
    stars = select_psf_stars(image, mask, sigma, _STARS).stars
    if len(stars) < _LEAST_STARS:
        return float("nan")
    widths = np.array(
        [stamp_width(given.stamp(x, y)) for x, y in zip(stars.x, stars.y, strict=True)]
        if given.polynomial.order
        else [stamp_width(given.stamp(0.0, 0.0))] * len(stars)
    )
    ratios = np.log(stars.sigma / widths)
    middle = float(np.median(ratios))
    # Galaxies do not agree among themselves, and contradict nothing.
    if 1.4826 * float(np.median(np.abs(ratios - middle))) > _LARGEST_SCATTER:
        return float("nan")
    return float(np.exp(middle))


def given_template_psf(
    templates: Sequence[TemplateImage], pixel_maps: Sequence[PixelMap], shape: tuple[int, int]
) -> PsfModel | None:
    """PSF models of the template patches on the science image's pixels; `None` without any.

    Evaluated at 5 x 5 places of the science image, each on the patch whose border is farthest,
    and fitted with a polynomial of second order where the models vary or are several.

    Parameters
    ----------
    templates
        The patches.
    pixel_maps
        From the science image's pixels to each patch's.
    shape
        (ny, nx) of the science image.
    """
    known = [(t, m) for t, m in zip(templates, pixel_maps, strict=True) if t.psf is not None]
    if not known:
        return None
    centres = [(n - 1) * (np.arange(_POSITIONS) + 0.5) / _POSITIONS for n in shape]
    places_x, places_y, stamps = [], [], []
    for y in centres[0]:
        for x in centres[1]:
            stamp = _resampled(known, float(x), float(y))
            if stamp is not None:
                places_x.append(x)
                places_y.append(y)
                stamps.append(stamp)
    if not stamps:
        return None
    half = max(s.shape[0] // 2 for s in stamps)
    values = np.array([np.pad(s, half - s.shape[0] // 2) for s in stamps])
    varies = len(known) > 1 or any(t.psf.polynomial.order for t, _ in known if t.psf is not None)
    order = 0 if not varies else 2 if len(stamps) >= 20 else 1 if len(stamps) >= 6 else 0
    polynomial = SpatialPolynomial(shape, order)
    terms = polynomial.terms(np.array(places_x), np.array(places_y))
    fitted = np.linalg.lstsq(terms, values.reshape(len(values), -1), rcond=None)[0]
    return PsfModel(fitted.reshape(-1, 2 * half + 1, 2 * half + 1), polynomial)


def _resampled(known: Sequence[tuple[TemplateImage, PixelMap]], x: float, y: float) -> Array | None:
    """Resample the template's PSF at a place of the science image to its pixels."""
    # Hardly ever needed, and 30 MB.
    from scipy.ndimage import map_coordinates

    best, stamp, jacobian = 0.0, None, np.eye(2)
    for template, pixel_map in known:
        at_x, at_y = (float(v) for v in pixel_map.positions(x, y))
        ny, nx = template.image.shape
        border = min(at_x, at_y, nx - 1 - at_x, ny - 1 - at_y)
        if border > best and template.psf is not None:
            best, stamp = border, template.psf.stamp(at_x, at_y)
            jacobian = pixel_map.jacobian(x, y)
    if stamp is None or not np.isfinite(jacobian).all():
        return None
    if np.allclose(jacobian, np.eye(2), atol=1e-4):
        return stamp
    scale = np.sqrt(abs(np.linalg.det(jacobian)))
    half = int(np.ceil((stamp.shape[0] // 2) / scale))
    offset = np.arange(-half, half + 1.0)
    dx, dy = np.meshgrid(offset, offset)
    centre = stamp.shape[0] // 2
    rows = jacobian[1, 0] * dx + jacobian[1, 1] * dy + centre
    columns = jacobian[0, 0] * dx + jacobian[0, 1] * dy + centre
    resampled = np.asarray(map_coordinates(stamp, [rows, columns], order=3), np.float64)
    return resampled / resampled.sum()
