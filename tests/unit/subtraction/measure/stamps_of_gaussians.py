"""Stamps with Gaussian sources and the PSF that belongs to them."""

import numpy as np
from tests.unit.subtraction.gaussians import gaussian_psf

from residua.subtraction.measure.source_stamps import psf_stamps

HALF, SIGMA = 14, 1.7


def psf_at_centre(number):
    return psf_stamps(gaussian_psf(SIGMA), np.full(number, 150.0), np.full(number, 140.0), HALF)


def gaussian(dx, dy, xx=SIGMA**2, yy=SIGMA**2, xy=0.0):
    """A unit Gaussian of a covariance, at (dx, dy) from the stamp's centre."""
    x, y = np.meshgrid(np.arange(-HALF, HALF + 1.0) - dx, np.arange(-HALF, HALF + 1.0) - dy)
    determinant = xx * yy - xy**2
    r2 = (yy * x * x - 2.0 * xy * x * y + xx * y * y) / determinant
    return np.exp(-0.5 * r2) / (2.0 * np.pi * np.sqrt(determinant))
