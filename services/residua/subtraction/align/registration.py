"""Registration: the smooth shift that is left between the images when both WCSs are believed.

Measured on the two original images, with centroids of the same stars, and put into the pixel
map of the warp, so that the template is still resampled once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.align.bulk_offset import BulkOffset, match_offset
from residua.subtraction.align.centroids import Centroids, star_width, windowed_centroids
from residua.subtraction.align.pixel_map import PixelMap, inverted, jacobians_at, solved
from residua.subtraction.align.shift_field import (
    ShiftField,
    fit_field,
    node_grid,
    rounded,
)
from residua.subtraction.images import FloatPlane, MaskPlane, TemplateImage
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.pixels.peaks import brightest_of_cells, find_peaks, noise_level

__all__ = ["Registration", "measure_registration", "register_map"]

type Array = npt.NDArray[np.float64]

_FAINTEST_SN = 8.0
_CELL = 64
_STARS_PER_CELL = 2
_MOST_STARS = 1000
_WIDTH_STARS = 60
_VOTERS, _VOTERS_OF_TEMPLATE = 300, 450
_VOTE_REACH = 40.0
_LEAST_STARS = 5
_LEAST_LINEAR_STARS = 12
_LEAST_GAIN = 6.0
_LEAST_SHIFT = 0.01
"""Pixels, rms: a smaller shift is not worth another pixel map."""
_CLIP = 5.0
_ROUNDS = 4
_MEDIAN_2D = 1.1774


@dataclass(frozen=True)
class Registration:
    """What was found between the images.

    Parameters
    ----------
    field
        The shift to apply; `None` where both WCSs agree within what the stars can tell.
    stars, offered
        Stars that agree with the field, and stars measured in both images.
    offset
        Shift (x, y) at the image's centre of the linear part, pixels.
    rms, maximum
        Of the whole shift over the image, pixels.
    scale
        Correlation length of the smooth part, pixels; 0 where there is none.
    """

    field: ShiftField | None
    stars: int
    offered: int
    offset: tuple[float, float]
    rms: float
    maximum: float
    scale: float


def measure_registration(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    templates: Sequence[TemplateImage],
    pixel_maps: Sequence[PixelMap],
    template_flags: int,
) -> Registration:
    """Measure the shift between a science image and template patches.

    First a vote of all pairs of bright stars for a common offset of up to 40 px; then
    centroids of up to 1,000 stars in both images, a constant or linear shift, and a Gaussian
    process for what is left; each only if the stars ask for it.

    Parameters
    ----------
    image, variance, mask
        The science image, cleaned.
    templates
        The patches.
    pixel_maps
        From the science image's pixels to each patch's.
    template_flags
        Mask planes of a template whose pixels are not used.
    """
    shape = (image.shape[0], image.shape[1])
    nothing = Registration(None, 0, 0, (0.0, 0.0), 0.0, 0.0, 0.0)
    sigma = noise_level(variance, mask, int(UNUSABLE))
    if not np.isfinite(sigma) or min(shape) < 2 * _CELL:
        return nothing
    peaks = find_peaks(image, mask, int(UNUSABLE), _FAINTEST_SN * sigma, 4)
    if len(peaks) < _LEAST_STARS:
        return nothing
    width = star_width(image, peaks.x[:_WIDTH_STARS], peaks.y[:_WIDTH_STARS])
    voters = np.column_stack([peaks.x[:_VOTERS], peaks.y[:_VOTERS]]).astype(np.float64)
    seen = _template_stars(templates, pixel_maps, template_flags)
    bulk = match_offset(voters, seen)

    cells = (max(1, shape[0] // _CELL), max(1, shape[1] // _CELL))
    chosen = brightest_of_cells(peaks, shape, cells, _STARS_PER_CELL)
    here = windowed_centroids(image, variance, mask, int(UNUSABLE), chosen.x, chosen.y, width=width)
    found = _shifts(here, bulk, templates, pixel_maps, template_flags, width)
    x, y, shifts, errors = (v[np.isfinite(found[3])] for v in found)
    if len(x) > _MOST_STARS:
        best = np.sort(np.argsort(errors, kind="stable")[:_MOST_STARS])
        x, y, shifts, errors = x[best], y[best], shifts[best], errors[best]
    if len(x) < _LEAST_STARS:
        return nothing
    return _fit(x, y, shifts, errors, shape)


def register_map(pixel_map: PixelMap, field: ShiftField | None) -> PixelMap:
    """Put a shift into a pixel map: ``map'(x) = map(x + shift(x))`` at its nodes.

    Parameters
    ----------
    pixel_map
        From the science image to a template.
    field
        The shift; `None` leaves the map as it is.
    """
    if field is None:
        return pixel_map
    y, x = (np.arange(n) * float(pixel_map.step) for n in pixel_map.x.shape)
    nodes_y, nodes_x = np.meshgrid(y, x, indexing="ij")
    shift_x, shift_y = field.at(nodes_x, nodes_y)
    moved_x, moved_y = pixel_map.positions(nodes_x + shift_x, nodes_y + shift_y)
    return PixelMap(moved_x, moved_y, pixel_map.step, pixel_map.error)


def _template_stars(
    templates: Sequence[TemplateImage], pixel_maps: Sequence[PixelMap], flags: int
) -> Array:
    """Positions of the templates' brightest stars, in pixels of the science image."""
    positions, brightness = [], []
    for template, pixel_map in zip(templates, pixel_maps, strict=True):
        known = np.isfinite(pixel_map.x)
        if not known.any():
            continue
        reach = _VOTE_REACH * max(1.0, float(np.sqrt(np.nanmedian(pixel_map.areas()))))
        ny, nx = template.image.shape
        x0, x1 = _range(pixel_map.x[known], reach, nx)
        y0, y1 = _range(pixel_map.y[known], reach, ny)
        if x1 - x0 < 16 or y1 - y0 < 16:
            continue
        box = (slice(y0, y1), slice(x0, x1))
        image = np.ascontiguousarray(template.image[box], np.float32)
        variance = np.ascontiguousarray(template.variance[box], np.float32)
        mask = np.ascontiguousarray(template.mask[box], np.int32)
        sigma = noise_level(variance, mask, flags)
        if not np.isfinite(sigma):
            continue
        peaks = find_peaks(image, mask, flags, _FAINTEST_SN * sigma, 4)
        x, y = inverted(
            pixel_map, peaks.x[:_VOTERS_OF_TEMPLATE] + x0, peaks.y[:_VOTERS_OF_TEMPLATE] + y0
        )
        positions.append(np.column_stack([x, y]))
        brightness.append(peaks.values[:_VOTERS_OF_TEMPLATE].astype(np.float64))
    if not positions:
        return np.zeros((0, 2))
    place, value = np.concatenate(positions), np.concatenate(brightness)
    inside = np.isfinite(place).all(axis=1)
    place, value = place[inside], value[inside]
    # A star in the overlap of two patches has one vote.
    _, first = np.unique(np.rint(place).astype(np.int64), axis=0, return_index=True)
    first = first[np.argsort(-value[first], kind="stable")[:_VOTERS_OF_TEMPLATE]]
    return np.asarray(place[first])


def _range(values: Array, reach: float, size: int) -> tuple[int, int]:
    return max(0, int(values.min() - reach)), min(size, int(values.max() + reach) + 1)


def _shifts(
    here: Centroids,
    bulk: BulkOffset,
    templates: Sequence[TemplateImage],
    pixel_maps: Sequence[PixelMap],
    flags: int,
    width: float,
) -> tuple[Array, Array, Array, Array]:
    """Positions, shifts (n, 2) and their variance; NaN where a star is in no template."""
    known = np.flatnonzero(np.isfinite(here.variance))
    # Two peaks of one star end in one centroid.
    places = np.rint(2.0 * np.column_stack([here.x[known], here.y[known]])).astype(np.int64)
    known = np.sort(known[np.unique(places, axis=0, return_index=True)[1]])
    here = Centroids(here.x[known], here.y[known], here.variance[known])
    n = len(here.x)
    shifts, variance, border = np.full((n, 2), np.nan), np.full(n, np.nan), np.zeros(n)
    shift_x, shift_y = bulk.at(here.x, here.y)
    for template, pixel_map in zip(templates, pixel_maps, strict=True):
        start_x, start_y = pixel_map.positions(here.x + shift_x, here.y + shift_y)
        ny, nx = template.image.shape
        inner = np.minimum.reduce([start_x, start_y, nx - 1 - start_x, ny - 1 - start_y])
        wanted = np.flatnonzero(inner > border)
        if not wanted.size:
            continue
        x, y = here.x[wanted], here.y[wanted]
        jacobians = jacobians_at(pixel_map, x + shift_x[wanted], y + shift_y[wanted])
        area = np.abs(np.linalg.det(jacobians))
        there = windowed_centroids(
            np.ascontiguousarray(template.image, np.float32),
            np.ascontiguousarray(template.variance, np.float32),
            np.ascontiguousarray(template.mask, np.int32),
            flags, start_x[wanted], start_y[wanted],
            width=max(width * float(np.sqrt(np.nanmedian(area))), 0.6),
        )  # fmt: skip
        miss = np.stack([there.x - start_x[wanted], there.y - start_y[wanted]], axis=1)
        moved = solved(jacobians, miss)
        found = np.isfinite(moved).all(axis=1)
        at = wanted[found]
        shifts[at, 0] = shift_x[at] + moved[found, 0]
        shifts[at, 1] = shift_y[at] + moved[found, 1]
        variance[at] = here.variance[at] + there.variance[found] / area[found]
        border[at] = inner[at]
    return here.x, here.y, shifts, variance


def _fit(
    x: Array, y: Array, shifts: Array, variance: Array, shape: tuple[int, int]
) -> Registration:
    """Choose and fit the shift: none, constant or linear; then a smooth field on top."""
    ny, nx = shape
    u, v = 2.0 * x / nx - 1.0, 2.0 * y / ny - 1.0
    terms = np.column_stack([np.ones(len(x)), u, v])
    linear = _linear_part(terms, shifts, variance)
    field = fit_field(x, y, shifts - terms @ linear, variance, shape)
    nodes_y, nodes_x = node_grid(shape)
    u, v = 2.0 * nodes_x / nx - 1.0, 2.0 * nodes_y / ny - 1.0
    total = [linear[0, k] + linear[1, k] * u[None, :] + linear[2, k] * v[:, None] for k in (0, 1)]
    used = len(x)
    scale = 0.0
    if field is not None:
        total = [total[0] + field.nodes_x, total[1] + field.nodes_y]
        used, scale = int(field.used.sum()), field.scale
    size = np.hypot(total[0], total[1])
    rms, maximum = float(np.sqrt(np.mean(size**2))), float(size.max())
    found = rounded(total[0], total[1]) if rms > _LEAST_SHIFT else None
    if found is None:
        linear, rms, maximum, scale = np.zeros((3, 2)), 0.0, 0.0, 0.0
    offset = (float(linear[0, 0]), float(linear[0, 1]))
    return Registration(found, used, len(x), offset, rms, maximum, scale)


def _linear_part(terms: Array, shifts: Array, variance: Array) -> Array:
    """Coefficients (3, 2) of a constant or linear shift; zeros if the stars ask for none."""
    best, best_terms = np.zeros((3, 2)), 0
    for n_terms, least in ((1, _LEAST_STARS), (3, _LEAST_LINEAR_STARS)):
        if len(terms) < least:
            break
        fitted, keep, scatter = _robust_fit(terms[:, :n_terms], shifts, variance)
        weight = 1.0 / (variance[keep] * scatter)
        before = shifts[keep] - terms[keep] @ best
        after = shifts[keep] - terms[keep, :n_terms] @ fitted
        gain = 0.5 * float(np.sum((before**2 - after**2) * weight[:, None]))
        if gain > _LEAST_GAIN + 2 * (n_terms - best_terms):
            best = np.zeros((3, 2))
            best[:n_terms], best_terms = fitted, n_terms
    return best


def _robust_fit(
    terms: Array, shifts: Array, variance: Array
) -> tuple[Array, npt.NDArray[np.bool_], float]:
    """Clipped weighted least squares; also the scatter over the variance, at least 1."""
    middle = np.zeros((terms.shape[1], 2))
    middle[0] = np.median(shifts, axis=0)
    keep = np.ones(len(terms), np.bool_)
    fitted, scatter = middle, 1.0
    for _ in range(_ROUNDS):
        z = np.sqrt(np.sum((shifts - terms @ fitted) ** 2, axis=1) / variance)
        scatter = max(1.0, float(np.median(z)) ** 2 / _MEDIAN_2D**2)
        keep = z <= _CLIP * np.sqrt(scatter)
        if keep.sum() < terms.shape[1] + 2:
            return middle, np.ones(len(terms), np.bool_), scatter
        # No star outweighs the scatter that errors do not explain.
        weight = 1.0 / np.sqrt(variance + np.median(variance) * (scatter - 1.0))
        fitted = np.linalg.lstsq(
            terms[keep] * weight[keep, None], shifts[keep] * weight[keep, None], rcond=None
        )[0]
    return fitted, keep, scatter
