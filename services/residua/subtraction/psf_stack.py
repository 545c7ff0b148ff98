"""Sub-pixel alignment, stacking and wings: the pixel work of the PSF measurement."""

import itertools

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
    "tail_profile",
]

type Array = npt.NDArray[np.float64]

_LANCZOS = 5
STAMP_MARGIN = _LANCZOS
"""Pixels that `shift_stamps` takes off each side of a stamp."""
_RING_BUFFER = 12_000


def cut_stamps(plane: FloatPlane | MaskPlane, x: Array, y: Array, half_width: int) -> Array:
    """Float64 (n, size, size) cut-outs around the nearest pixels; NaN outside the plane."""
    ny, nx = plane.shape
    offsets = np.arange(-half_width, half_width + 1)
    rows = np.rint(y).astype(np.int64)[:, None] + offsets
    columns = np.rint(x).astype(np.int64)[:, None] + offsets
    stamps = plane[
        np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]
    ].astype(np.float64)
    outside_rows = (rows < 0) | (rows >= ny)
    outside_columns = (columns < 0) | (columns >= nx)
    stamps[outside_rows[:, :, None] | outside_columns[:, None, :]] = np.nan
    return stamps


def _shift_matrices(shift: Array, n_out: int) -> Array:
    """Float64 (n, n_out, n_out + 2 Lanczos): sample at pixel + shift, abs(shift) <= 1."""
    taps = np.arange(n_out + 2 * _LANCZOS) - _LANCZOS
    distance = taps - (np.arange(n_out)[:, None] + shift[:, None, None])
    weights = np.where(
        np.abs(distance) < _LANCZOS, np.sinc(distance) * np.sinc(distance / _LANCZOS), 0.0
    )
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def shift_stamps(stamps: Array, dx: Array, dy: Array) -> Array:
    """Resample stamps with Lanczos-5 so that what was at ``centre + (dx, dy)`` is centred.

    Parameters
    ----------
    stamps
        float64 (n, size + 10, size + 10).
    dx, dy
        float64 (n,), pixels, at most about one.

    Returns
    -------
    numpy.ndarray
        float64 (n, size, size).
    """
    size = stamps.shape[1] - 2 * _LANCZOS
    return _shift_matrices(dy, size) @ stamps @ _shift_matrices(dx, size).transpose(0, 2, 1)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ring_skies(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    unusable: np.int32,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    inner: float,
    outer: float,
    sigma: float,
    buffer: npt.NDArray[np.float64],
    out: npt.NDArray[np.float64],
) -> None:
    ny, nx = image.shape
    reach = int(np.ceil(outer))
    for k in range(len(x)):
        ix, iy = round(x[k]), round(y[k])
        n = 0
        for j in range(max(iy - reach, 0), min(iy + reach + 1, ny)):
            for i in range(max(ix - reach, 0), min(ix + reach + 1, nx)):
                r2 = (i - x[k]) ** 2 + (j - y[k]) ** 2
                inside = inner * inner <= r2 <= outer * outer
                if inside and (mask[j, i] & unusable) == 0 and n < len(buffer):
                    buffer[n] = image[j, i]
                    n += 1
        out[k] = np.nan
        if n < 50:
            continue
        centre = float(np.median(buffer[:n]))
        for _ in range(4):
            # Tighter above than below would bias; sources hide above, so clip both at 2.5.
            total, count = 0.0, 0
            for m in range(n):
                if abs(buffer[m] - centre) < 2.5 * sigma:
                    total += buffer[m]
                    count += 1
            if count == 0:
                break
            centre = total / count
        out[k] = centre


def ring_skies(
    image: FloatPlane,
    mask: MaskPlane,
    unusable: int,
    x: Array,
    y: Array,
    radii: tuple[float, float],
    sigma: float,
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
    radii
        Inner and outer radius, pixels.
    sigma
        Noise of the sky, unit of the image.
    """
    out = np.empty(len(x))
    _ring_skies(
        image, mask, np.int32(unusable), x, y, radii[0], radii[1], sigma,
        np.empty(_RING_BUFFER), out,
    )  # fmt: skip
    return out


def _radii(size: int) -> tuple[Array, Array]:
    offset = np.arange(size) - size // 2
    dx, dy = np.meshgrid(offset, offset)
    return np.hypot(dx, dy), 2.0 * np.arctan2(dy, dx)


def tail_profile(psf: Array, fwhm: float) -> tuple[float, float]:
    """Amplitude and exponent of the power law ``a r^-q`` that continues a PSF's wing.

    Fitted to the azimuthal means between 1.5 and 3 FWHM, where they are well measured.

    Parameters
    ----------
    psf
        float64 (size, size), sum 1.
    fwhm
        Pixels.
    """
    radius, _ = _radii(psf.shape[0])
    bins = np.linspace(1.5 * fwhm, min(3.0 * fwhm, psf.shape[0] // 2), 5)
    means, middles = [], []
    for low, high in itertools.pairwise(bins):
        inside = (radius >= low) & (radius < high)
        if inside.any() and psf[inside].mean() > 0:
            means.append(float(psf[inside].mean()))
            middles.append(float(np.exp(np.log(radius[inside]).mean())))
    if len(means) < 2:
        return 0.0, 4.0
    slope, level = np.polyfit(np.log(middles), np.log(means), 1)
    exponent = float(np.clip(-slope, 2.5, 10.0))
    amplitude = float(np.exp(level + (slope + exponent) * np.log(np.array(middles)).mean()))
    return amplitude, exponent


def smooth_wings(coefficient: Array, blend: tuple[float, float], exponent: float) -> Array:
    """Replace the wings of a PSF image by a smooth radial profile with a quadrupole.

    Beyond the core each pixel of a stack is mostly noise, while the profile averaged over
    angles is well measured. Within ``blend`` the image passes over into the profile.

    Parameters
    ----------
    coefficient
        float64 (size, size).
    blend
        Radii between which the smooth profile takes over, pixels.
    exponent
        The wing falls about as ``r^-exponent``; it is flattened by that before averaging.

    Returns
    -------
    numpy.ndarray
        float64 (size, size).
    """
    size = coefficient.shape[0]
    half = size // 2
    radius, double_angle = _radii(size)
    start = 0.7 * blend[0]
    outer = radius >= start
    # Linear splines in radius on knots that widen outwards, times (1, cos, sin) of 2 theta.
    knots = [start]
    while knots[-1] < np.sqrt(2.0) * half:
        knots.append(knots[-1] + max(1.5, 0.25 * knots[-1]))
    hats = np.stack(
        [np.interp(radius[outer], knots, np.eye(len(knots))[k]) for k in range(len(knots))], axis=1
    )
    angle = double_angle[outer]
    design = np.concatenate(
        [hats, hats * np.cos(angle)[:, None], hats * np.sin(angle)[:, None]], axis=1
    )
    scale = (radius[outer] / start) ** -exponent
    # Uniform noise per pixel: fit the image itself, with the flattening in the design.
    solution, *_ = np.linalg.lstsq(design * scale[:, None], coefficient[outer])
    smooth = coefficient.copy()
    smooth[outer] = (design * scale[:, None]) @ solution
    weight = np.clip((radius - blend[0]) / (blend[1] - blend[0]), 0.0, 1.0)
    return np.asarray(weight * smooth + (1.0 - weight) * coefficient)
