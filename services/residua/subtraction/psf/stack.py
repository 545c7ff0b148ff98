"""Sub-pixel alignment, stacking and wings: the pixel work of the PSF measurement."""

import itertools
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane

__all__ = [
    "STAMP_MARGIN",
    "cut_stamps",
    "ring_skies",
    "shift_stamps",
    "smooth_wings",
]

type Array = npt.NDArray[np.float64]
type Stamps = npt.NDArray[np.float32]

_LANCZOS = 5
_KNOT_STEP = 1.5
"""Least distance of the wing's knots, pixels."""
STAMP_MARGIN = _LANCZOS
"""Pixels that `shift_stamps` takes off each side of a stamp."""


def cut_stamps[Pixel: (np.float32, np.int32)](
    plane: npt.NDArray[Pixel], x: Array, y: Array, half_width: int, outside: float
) -> npt.NDArray[Pixel]:
    """Cut-outs (n, size, size) around the nearest pixels; ``outside`` the plane's borders."""
    ny, nx = plane.shape
    offsets = np.arange(-half_width, half_width + 1)
    rows = np.rint(y).astype(np.int64)[:, None] + offsets
    columns = np.rint(x).astype(np.int64)[:, None] + offsets
    stamps = plane[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]]
    outside_rows = (rows < 0) | (rows >= ny)
    outside_columns = (columns < 0) | (columns >= nx)
    stamps[outside_rows[:, :, None] | outside_columns[:, None, :]] = outside
    return stamps


def _shift_matrices(shift: Array, n_out: int) -> Stamps:
    """float32 (n, n_out, n_out + 2 Lanczos): sample at pixel + shift, abs(shift) <= 1."""
    distance = np.arange(-_LANCZOS, _LANCZOS + 1) - shift[:, None]
    weights = np.where(
        np.abs(distance) < _LANCZOS, np.sinc(distance) * np.sinc(distance / _LANCZOS), 0.0
    )
    weights /= weights.sum(axis=-1, keepdims=True)
    n_in = n_out + 2 * _LANCZOS
    matrices = np.zeros((len(shift), n_out, n_in), np.float32)
    # Every row has the same weights, one pixel further on: write along the diagonals.
    step = matrices.itemsize
    band = np.lib.stride_tricks.as_strided(
        matrices,
        (len(shift), n_out, 2 * _LANCZOS + 1),
        (n_out * n_in * step, (n_in + 1) * step, step),
    )
    band[:] = weights[:, None, :]
    return matrices


def shift_stamps(stamps: Stamps, dx: Array, dy: Array) -> Stamps:
    """Resample stamps with Lanczos-5 so that what was at ``centre + (dx, dy)`` is centred.

    Parameters
    ----------
    stamps
        float32 (n, size + 10, size + 10).
    dx, dy
        float64 (n,), pixels, at most about one.

    Returns
    -------
    numpy.ndarray
        float32 (n, size, size).
    """
    size = stamps.shape[1] - 2 * _LANCZOS
    shifted = _shift_matrices(dy, size) @ stamps @ _shift_matrices(dx, size).transpose(0, 2, 1)
    return np.asarray(shifted, np.float32)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ring_skies(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    unusable: np.int32,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    neighbours: npt.NDArray[np.bool_],
    inner: float,
    outer: float,
    limit: float,
    out: npt.NDArray[np.float64],
) -> None:
    ny, nx = image.shape
    reach = neighbours.shape[1] // 2
    for k in range(len(x)):
        ix, iy = round(x[k]), round(y[k])
        centre, wide = 0.0, 1.0e30
        for _ in range(5):
            total, square, count = 0.0, 0.0, 0
            for j in range(max(iy - reach, 0), min(iy + reach + 1, ny)):
                for i in range(max(ix - reach, 0), min(ix + reach + 1, nx)):
                    r2 = (i - x[k]) ** 2 + (j - y[k]) ** 2
                    if (
                        inner * inner <= r2 <= outer * outer
                        and (mask[j, i] & unusable) == 0
                        and not neighbours[k, j - iy + reach, i - ix + reach]
                        and abs(image[j, i] - centre) < wide
                    ):
                        total += image[j, i]
                        square += image[j, i] ** 2
                        count += 1
            if count < 50:
                centre = np.nan
                break
            centre = total / count
            wide = max(limit, 0.5 * np.sqrt(max(square / count - centre * centre, 0.0)))
        out[k] = centre


def ring_skies(
    image: FloatPlane,
    mask: MaskPlane,
    unusable: int,
    x: Array,
    y: Array,
    neighbours: npt.NDArray[np.bool_],
    radii: tuple[float, float],
    limit: float,
) -> Array:
    """Clipped mean of the sky in a ring around each position; NaN with under 50 pixels.

    Parameters
    ----------
    image, mask
        float32 and int32 (ny, nx).
    unusable
        Mask bits to leave out.
    x, y
        float64 (n,), pixels.
    neighbours
        bool (n, size, size): pixels around each position that belong to other sources.
    radii
        Inner and outer radius, pixels.
    limit
        Pixels farther from the mean than this are left out, unit of the image.
    """
    out = np.empty(len(x))
    _ring_skies(
        image, mask, np.int32(unusable), x, y, neighbours, radii[0], radii[1], limit, out
    )  # fmt: skip
    return out


def _radii(size: int) -> tuple[Array, Array]:
    offset = np.arange(size) - size // 2
    dx, dy = np.meshgrid(offset, offset)
    return np.hypot(dx, dy), 2.0 * np.arctan2(dy, dx)


@dataclass(frozen=True)
class Moffat:
    """Radial profile ``amplitude (1 + (r / width)^2)^-exponent``; r and width in pixels."""

    amplitude: float
    width: float
    exponent: float

    def __call__(self, radius: npt.ArrayLike) -> Array:
        """Values at radii in pixels."""
        r2 = (np.asarray(radius, np.float64) / self.width) ** 2
        return np.asarray(self.amplitude * (1.0 + r2) ** -self.exponent)


def fit_moffat(psf: Array, fwhm: float) -> Moffat:
    """Moffat (1969) profile through the azimuthal means of a PSF from 0.6 to 3 FWHM.

    It continues the wing to where the stars have no signal.

    Parameters
    ----------
    psf
        float64 (size, size).
    fwhm
        Pixels.
    """
    radius, _ = _radii(psf.shape[0])
    outer = min(3.0 * fwhm, psf.shape[0] / 2.0)
    edges = np.arange(0.6 * fwhm, outer, max(0.2 * fwhm, 1.0))
    middles, means = [], []
    for low, high in itertools.pairwise(edges):
        inside = (radius >= low) & (radius < high)
        if inside.any():
            means.append(float(psf[inside].mean()))
            middles.append(float(np.sqrt(np.mean(radius[inside] ** 2))))
    values, r = np.array(means), np.array(middles)
    # Far out the stack's own noise counts, near the centre the profile's curvature in a bin.
    error = 0.02 * np.abs(values) + 3e-5 * psf.max()
    none = Moffat(0.0, fwhm, 3.0)
    good = values > error
    if good.sum() < 4:
        return none
    weight = (values / error)[good] ** 2
    weight /= weight.sum()
    level = np.log(values[good])
    # For each width a straight line through the logarithms: in closed form, all at once.
    widths = fwhm * np.geomspace(0.4, 3.0, 40)
    shape = -np.log1p((r[good] / widths[:, None]) ** 2)
    mean_shape, mean_level = shape @ weight, level @ weight
    shape = shape - mean_shape[:, None]
    exponent = (shape * (level - mean_level)) @ weight / (shape**2 @ weight)
    misfit = (level - mean_level - exponent[:, None] * shape) ** 2 @ weight
    misfit[(exponent < 1.5) | (exponent > 12.0)] = np.inf
    k = int(np.argmin(misfit))
    if not np.isfinite(misfit[k]):
        return none
    amplitude = np.exp(mean_level - exponent[k] * mean_shape[k])
    return Moffat(float(amplitude), float(widths[k]), float(exponent[k]))


def _wing_knots(first: float, last: float) -> list[float]:
    """Knots at least 1.5 px apart that end on the last pixel: each has pixels on both sides."""
    knots = [first]
    while last - knots[-1] >= 2.0 * (step := max(_KNOT_STEP, 0.25 * knots[-1])):
        knots.append(knots[-1] + step)
    if last - knots[-1] > _KNOT_STEP:
        return [*knots, last]
    return [*knots[:-1], last] if len(knots) > 1 else [first, last]


def smooth_wings(
    image: Array, blend: tuple[float, float], tail: tuple[float, float], moffat: Moffat
) -> Array:
    """Replace the wings of a PSF image by a smooth radial profile with a quadrupole.

    Beyond the core each pixel of a stack is mostly noise, while the profile averaged over
    angles is well measured. Within ``blend`` the image passes over into that profile, and
    within ``tail`` into the Moffat profile.

    Parameters
    ----------
    image
        float64 (size, size).
    blend, tail
        Radii between which the smooth profile, then the Moffat profile, take over, pixels.
    moffat
        Wings; amplitude 0 for an image whose wings shall vanish.

    Returns
    -------
    numpy.ndarray
        float64 (size, size).
    """
    radius, double_angle = _radii(image.shape[0])
    start = 0.7 * blend[0]
    ring = (radius >= start) & (radius <= tail[1] + 2.0)
    # Linear splines in radius on knots that widen outwards, times (1, cos, sin) of 2 theta.
    knots = _wing_knots(start, float(radius[ring].max()))
    hats = np.stack(
        [np.interp(radius[ring], knots, np.eye(len(knots))[k]) for k in range(len(knots))], axis=1
    )
    angle = double_angle[ring][:, None]
    # Noise is uniform, so the steep profile goes into the design, not out of the data.
    steep = (1.0 + (radius[ring] / moffat.width) ** 2) ** -moffat.exponent
    design = np.concatenate([hats, hats * np.cos(angle), hats * np.sin(angle)], axis=1)
    design *= steep[:, None]
    # Normal equations of scaled columns: the hats overlap only their neighbours, so that the
    # problem is well conditioned, and an SVD would cost ten times as much.
    norm = np.sqrt(np.sum(design**2, axis=0))
    design /= np.where(norm > 0.0, norm, 1.0)
    normal = design.T @ design
    normal[np.diag_indices_from(normal)] += 1e-10
    smooth = image.copy()
    smooth[ring] = design @ np.linalg.solve(normal, design.T @ image[ring])
    weight = np.clip((radius - blend[0]) / (blend[1] - blend[0]), 0.0, 1.0)
    smooth = weight * smooth + (1.0 - weight) * image
    weight = np.clip((radius - tail[0]) / (tail[1] - tail[0]), 0.0, 1.0)
    return np.asarray(weight * moffat(radius) + (1.0 - weight) * smooth)
