"""Two lobes of opposite sign: what a source leaves that moved, or that was not aligned."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.measure.photometry import disc
from residua.subtraction.measure.source_stamps import PsfStamps

__all__ = ["Dipoles", "fit_dipoles", "opposite_lobes"]

type Array = npt.NDArray[np.float64]
type Stamps = npt.NDArray[np.floating]
type Flags = npt.NDArray[np.bool_]

_LEAST_SN = 3.0
_REACH = 2.0
"""FWHM within which the other lobe is sought."""
_LARGEST_SHARE = 0.65
"""Of the absolute flux in one lobe; as in Rubin's dipole classification."""


@dataclass(frozen=True)
class Dipoles:
    """Fits of two PSFs, all float64 (n,) unless said otherwise; NaN where singular.

    Parameters
    ----------
    own, other
        Fluxes of the lobe that was detected and of the other one.
    own_error, other_error, covariance
        Their standard errors and covariance.
    chi2, pixels
        Of the good pixels fitted.
    is_dipole
        bool (n,): lobes of opposite sign, both significant, neither with more than 65 % of the
        absolute flux.
    """

    own: Array
    other: Array
    own_error: Array
    other_error: Array
    covariance: Array
    chi2: Array
    pixels: npt.NDArray[np.int64]
    is_dipole: Flags


def opposite_lobes(signal_to_noise: Stamps, sign: Array, fwhm: float) -> tuple[Array, Array, Flags]:
    """Find the strongest pixel of the other sign within two FWHM of each source.

    Parameters
    ----------
    signal_to_noise
        (n, size, size) around the sources; NaN and zero are no lobe.
    sign
        float64 (n,) of the sources.
    fwhm
        Of the PSF, pixels.

    Returns
    -------
    dx, dy, found
        Pixels from the stamps' centres; whether the pixel is beyond 3 sigma.
    """
    half = signal_to_noise.shape[1] // 2
    near = disc(half, _REACH * fwhm)
    against = np.where(near, np.nan_to_num(-sign[:, None, None] * signal_to_noise), 0.0)
    flat = against.reshape(len(against), -1)
    at = np.argmax(flat, axis=1) if len(flat) else np.zeros(0, np.int64)
    rows, columns = np.divmod(at, signal_to_noise.shape[2])
    strength = flat[np.arange(len(flat)), at]
    return (columns - half).astype(float), (rows - half).astype(float), strength >= _LEAST_SN


def fit_dipoles(
    image: Stamps,
    variance: Stamps,
    good: Flags,
    psf: PsfStamps,
    own: tuple[Array, Array],
    other: tuple[Array, Array],
) -> Dipoles:
    """Fit the fluxes of two point sources at the lobes' places.

    The places are those of the extremes of the S/N: two sources closer than the PSF are not
    told apart by a fit to the difference alone, and their fluxes would run away.

    Parameters
    ----------
    image, variance, good
        (n, size, size).
    psf
        The PSF at the stamps.
    own, other
        Positions (dx, dy) of the lobes from the stamps' central pixels.
    """
    n = len(image)
    columns = np.stack([psf.at(*own).reshape(n, -1), psf.at(*other).reshape(n, -1)], axis=1)
    usable = good.reshape(n, 1, -1)
    columns = columns * usable
    data = np.where(good, image, 0.0).reshape(n, -1, 1).astype(np.float64)
    noise = np.where(good, variance, 0.0).reshape(n, 1, -1).astype(np.float64)
    normal = columns @ columns.transpose(0, 2, 1)
    determinant = np.linalg.det(normal)
    regular = determinant > 1e-4 * normal[:, 0, 0] * normal[:, 1, 1]
    inverse = np.linalg.inv(np.where(regular[:, None, None], normal, np.eye(2)))
    inverse[~regular] = np.nan
    solution = inverse @ (columns @ data)
    covariance = inverse @ ((columns * noise) @ columns.transpose(0, 2, 1)) @ inverse
    residual = (data[:, :, 0] - (solution.transpose(0, 2, 1) @ columns)[:, 0]) * usable[:, 0]
    weight = np.where(noise[:, 0] > 0, 1.0 / np.where(noise[:, 0] > 0, noise[:, 0], 1.0), 0.0)
    flux = solution[:, :, 0]
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.abs(flux).max(axis=1) / np.abs(flux).sum(axis=1)
        significant = np.all(np.abs(flux) >= _LEAST_SN * error, axis=1)
    opposite = flux[:, 0] * flux[:, 1] < 0
    return Dipoles(
        own=flux[:, 0],
        other=flux[:, 1],
        own_error=error[:, 0],
        other_error=error[:, 1],
        covariance=covariance[:, 0, 1],
        chi2=np.sum(residual**2 * weight, axis=1),
        pixels=np.count_nonzero(good, axis=(1, 2)).astype(np.int64),
        is_dipole=opposite & significant & (share <= _LARGEST_SHARE),
    )
