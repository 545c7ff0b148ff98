"""Lanczos-3 interpolation: weights, their polynomials, and the noise power they leave."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "lanczos3",
    "lanczos3_weights",
    "norm_polynomial",
    "phase_covariance",
    "power_spectrum",
    "warp_covariance",
    "weight_polynomial",
]

type Array = npt.NDArray[np.float64]

_PHASES = 48
_WEIGHTS = (
    (0.024456546, -0.13586952, 0.611413),
    (-0.063924074, 0.18115856, -1.3366699),
    (-0.088125736, 0.57076174, -0.482636),
    (0.30997273, -0.8414723, 1.5452081),
    (-0.05685751, -0.11402476, 0.17088227),
    (-0.24150786, 0.52481323, -0.90849894),
    (0.07806912, 0.02841519, -0.10648431),
    (0.11007044, -0.26076043, 0.5178865),
    (-0.023390608, -0.035427403, 0.05881801),
    (-0.049854565, 0.123686254, -0.2414003),
)
"""Powers of ``fraction - 0.5`` (rows, constant first) for the first three of the six weights.

Least squares on 200 Chebyshev nodes, right to 2e-7 (norm: 2e-4); rounded to float32. They are
written down because a fit made on each machine would differ in the last bit, and with it images.
"""
_NORMS = (
    1.1288234,
    -1.5127515,
    7.1678734,
    -17.987537,
    21.127542,
)
"""Even powers of ``fraction - 0.5``; the odd ones are zero by symmetry."""


def lanczos3(x: npt.ArrayLike) -> Array:
    """``sinc(x) sinc(x / 3)`` for abs(x) < 3, else 0."""
    x = np.asarray(x, np.float64)
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


def lanczos3_weights(fraction: npt.ArrayLike) -> Array:
    """Weights of the pixels -2 ... +3 around a position, normalised to sum 1.

    Parameters
    ----------
    fraction
        Position minus its floor, in [0, 1).

    Returns
    -------
    numpy.ndarray
        float64, shape of ``fraction`` + (6,).
    """
    weights = lanczos3(np.asarray(fraction, np.float64)[..., None] - np.arange(-2, 4))
    return weights / weights.sum(axis=-1, keepdims=True)


def weight_polynomial() -> Array:
    """Polynomials of the six normalised weights in ``fraction - 0.5``, float64 (10, 6)."""
    first = np.array(_WEIGHTS)
    # The last three mirror the first three about the middle between two pixels.
    return np.hstack([first, first[:, ::-1] * (-1.0) ** np.arange(len(first))[:, None]])


def norm_polynomial() -> Array:
    """Polynomial of ``(sum of the four central squared weights)^-1/2``, float64 (10, 1).

    Squares are taken of the central weights only: the outer two carry less than 1.3 %.
    """
    norms = np.zeros((len(_WEIGHTS), 1))
    norms[::2, 0] = _NORMS
    return norms


def _autocovariance(distance: Array) -> Array:
    """Mean over the phase of ``sum_i w_i(phase) w_i(phase + distance)``, 1-D.

    The covariance of two interpolated values of unit white noise
    ``distance`` template pixels apart.
    """
    phase = (np.arange(_PHASES) + 0.5) / _PHASES
    second = phase + distance[..., None]
    # w_i of the first pixel meets w_(i - shift) of the second on the same template pixel.
    shift = np.floor(second).astype(np.int64)
    first_weights = lanczos3_weights(phase)
    second_weights = lanczos3_weights(second - shift)
    i = np.arange(6)
    j = i - shift[..., None]
    overlap = np.where((j >= 0) & (j < 6), 1.0, 0.0)
    partner = np.take_along_axis(second_weights, np.clip(j, 0, 5), axis=-1)
    return np.sum(first_weights * partner * overlap, axis=-1).mean(axis=-1)


def warp_covariance(jacobian: npt.ArrayLike, half_width: int) -> Array:
    """Autocovariance of warped white noise, all phases being equally frequent.

    ``c(J00 dx + J01 dy) c(J10 dx + J11 dy)`` with the 1-D mean over the phases. Its value at
    the origin is the factor that the interpolation leaves of one pixel's variance (0.80).

    Parameters
    ----------
    jacobian
        (2, 2): d(template x, y) / d(science x, y).
    half_width
        Largest lag, science pixels.

    Returns
    -------
    numpy.ndarray
        float64 (2 half_width + 1, 2 half_width + 1), indexed by lag [y, x].
    """
    j = np.asarray(jacobian, np.float64)
    d = np.arange(-half_width, half_width + 1.0)
    dx, dy = d[None, :], d[:, None]
    return _autocovariance(j[0, 0] * dx + j[0, 1] * dy) * _autocovariance(
        j[1, 0] * dx + j[1, 1] * dy
    )


def phase_covariance(
    x: npt.ArrayLike, y: npt.ArrayLike, jacobian: npt.ArrayLike, half_width: int
) -> Array:
    """Autocovariance of warped white noise when the phases hardly change from pixel to pixel.

    Two grids of (nearly) the same scale and orientation, or turned by 90 degrees: the phase
    is the same over hundreds of pixels, so the mean over all phases would be wrong. On
    coinciding grids the noise stays white.

    Parameters
    ----------
    x, y
        Template positions of a sample of science pixels.
    jacobian
        (2, 2), near integers.
    half_width
        Largest lag, science pixels.

    Returns
    -------
    numpy.ndarray
        float64 (2 half_width + 1, 2 half_width + 1), indexed by lag [y, x].
    """
    correlations = []
    for position in (x, y):
        phase = np.asarray(position, np.float64).ravel() % 1.0
        weights = lanczos3_weights(phase)
        padded = np.pad(weights, [(0, 0), (6, 6)])
        # sum_i w_i w_(i - shift) for shifts -6 ... 6
        correlations.append(
            np.stack([np.sum(weights * padded[:, 6 - s : 12 - s], axis=1) for s in range(-6, 7)])
        )
    in_x, in_y = correlations
    table = in_y @ in_x.T / in_x.shape[1]
    j = np.rint(np.asarray(jacobian, np.float64)).astype(np.int64)
    d = np.arange(-half_width, half_width + 1)
    dx, dy = d[None, :], d[:, None]
    shift_x, shift_y = (np.clip(row[0] * dx + row[1] * dy, -6, 6) + 6 for row in j)
    return np.asarray(table[shift_y, shift_x])


def power_spectrum(covariance: Array, n: int) -> Array:
    """Power spectra, float64 (..., n, n // 2 + 1) at ``rfft2``'s frequencies, of autocovariances.

    Parameters
    ----------
    covariance
        float64 (..., size, size), lag 0 in the middle.
    n
        Side of the Fourier grid, at least ``size``.
    """
    half = covariance.shape[-1] // 2
    plane = np.zeros((*covariance.shape[:-2], n, n))
    plane[..., : 2 * half + 1, : 2 * half + 1] = covariance
    spectrum = np.fft.rfft2(np.roll(plane, (-half, -half), axis=(-2, -1)))
    return np.clip(spectrum.real, 0.0, None)
