"""Light profiles as sums of Gaussians, and the spatially varying PSF made of them.

Sums of Gaussians convolve exactly with each other (Hogg & Lang 2013, PASP 125, 719), so that a
galaxy seen through an elliptical, varying PSF needs no pixel convolution. The PSF is the
*effective* one: its value at a pixel's centre is the flux in that pixel.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from residua.simulation.sky.scene import PsfConfig
from residua.subtraction.images import PsfModel, SpatialPolynomial

__all__ = ["Mixture", "PsfField", "moffat_mixture", "sersic_mixture"]

type Array = npt.NDArray[np.float64]

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class Mixture:
    """A round profile of unit flux as a sum of Gaussians.

    Parameters
    ----------
    weights
        float64 (n,), positive, sum 1.
    variances
        float64 (n,), sigma^2 in squared units of the profile's radius.
    """

    weights: Array
    variances: Array


def _fit(radius: Array, profile: Array, sigmas: Array) -> Mixture:
    """Non-negative least squares on r I(r), which weighs by flux per radius."""
    design = np.exp(-0.5 * (radius[:, None] / sigmas) ** 2) / (2.0 * np.pi * sigmas**2)
    # sqrt(r / I) makes core and wings matter alike without letting the far wing rule.
    emphasis = np.sqrt(radius / (profile + 1e-7 * profile.max()))
    weights, _ = nnls(design * emphasis[:, None], profile * emphasis)
    used = weights > 1e-6 * weights.sum()
    return Mixture(weights[used] / weights[used].sum(), sigmas[used] ** 2)


@lru_cache(maxsize=16)
def moffat_mixture(beta: float) -> Mixture:
    """Moffat (1969) profile with FWHM 1, fitted out to 15 FWHM."""
    alpha = 0.5 / np.sqrt(2.0 ** (1.0 / beta) - 1.0)
    radius = np.linspace(0.005, 15.0, 3000)
    profile = (beta - 1.0) / (np.pi * alpha**2) * (1.0 + (radius / alpha) ** 2) ** -beta
    return _fit(radius, profile, np.geomspace(0.25, 6.0, 9))


@lru_cache(maxsize=16)
def sersic_mixture(index: float) -> Mixture:
    """Sersic profile of the given index with half-light radius 1, truncated at 8 radii."""
    b = 2.0 * index - 1.0 / 3.0 + 4.0 / (405.0 * index)
    radius = np.linspace(0.01, 8.0, 3000)
    profile = np.exp(-b * (radius ** (1.0 / index) - 1.0))
    profile /= np.trapezoid(2.0 * np.pi * radius * profile, radius)
    return _fit(radius, profile, np.geomspace(0.04, 4.0, 10))


@dataclass(frozen=True)
class PsfField:
    """The PSF at any pixel of one image.

    Parameters
    ----------
    config
        Shape of the PSF.
    pixel_scale
        arcsec per pixel.
    centre
        (x, y) from which gradients count, pixels.
    """

    config: PsfConfig
    pixel_scale: float
    centre: tuple[float, float]

    @property
    def mixture(self) -> Mixture:
        """The round profile with FWHM 1."""
        return moffat_mixture(self.config.beta)

    def shape(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Array:
        """Covariance factors (..., 3) (xx, xy, yy) in px^2, to multiply the mixture's variances."""
        c = self.config
        u = (np.asarray(x, np.float64) - self.centre[0]) / 1000.0
        v = (np.asarray(y, np.float64) - self.centre[1]) / 1000.0
        width = 1.0 + c.width_gradient[0] * u + c.width_gradient[1] * v
        width += c.width_curvature * (u**2 + v**2)
        size = (c.fwhm / self.pixel_scale * width) ** 2
        de1dx, de1dy, de2dx, de2dy = c.ellipticity_gradient
        e1 = c.ellipticity[0] + de1dx * u + de1dy * v
        e2 = c.ellipticity[1] + de2dx * u + de2dy * v
        # Dividing by sqrt(1 - e^2) keeps the area, so that ellipticity costs no sharpness.
        size = size / np.sqrt(1.0 - e1**2 - e2**2)
        return np.stack([size * (1.0 + e1), size * e2, size * (1.0 - e1)], axis=-1)

    def stamp(self, x: float, y: float, half_width: int) -> Array:
        """Float64 (size, size) image of a unit star centred on the central pixel at (x, y)."""
        xx, xy, yy = self.shape(x, y)
        offset = np.arange(-half_width, half_width + 1.0)
        dx, dy = np.meshgrid(offset, offset)
        determinant = xx * yy - xy**2
        r2 = (yy * dx**2 - 2.0 * xy * dx * dy + xx * dy**2) / determinant
        pixels = np.zeros_like(r2)
        for weight, variance in zip(self.mixture.weights, self.mixture.variances, strict=True):
            norm = weight / (2.0 * np.pi * variance * np.sqrt(determinant))
            pixels += norm * np.exp(-0.5 * r2 / variance)
        return pixels

    def transform(self, x: npt.ArrayLike, y: npt.ArrayLike, size: int) -> Array:
        """Fourier transform (..., size, size) of the PSF at (x, y), frequencies as `fftfreq`."""
        shape = self.shape(x, y)[..., None, None, :]
        fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
        q = shape[..., 0] * fx**2 + 2.0 * shape[..., 1] * fx * fy + shape[..., 2] * fy**2
        total = np.zeros_like(q)
        for weight, variance in zip(self.mixture.weights, self.mixture.variances, strict=True):
            total += weight * np.exp(-2.0 * np.pi**2 * variance * q)
        return total

    def model(self, shape: tuple[int, int], half_width: int = 20, order: int = 2) -> PsfModel:
        """Fit a `PsfModel` of an image of the given shape by least squares on a grid."""
        polynomial = SpatialPolynomial(shape, order)
        grid_y, grid_x = np.meshgrid(
            np.linspace(0, shape[0] - 1, 7), np.linspace(0, shape[1] - 1, 7), indexing="ij"
        )
        x, y = grid_x.ravel(), grid_y.ravel()
        stamps = np.stack([self.stamp(a, b, half_width) for a, b in zip(x, y, strict=True)])
        size = 2 * half_width + 1
        solution, *_ = np.linalg.lstsq(polynomial.terms(x, y), stamps.reshape(len(x), -1))
        return PsfModel(solution.reshape(-1, size, size), polynomial)
