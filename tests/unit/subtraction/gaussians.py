import numpy as np

from residua.subtraction.images import MatchingKernel, PsfModel, SpatialPolynomial


def gaussian_psf(sigma, shape=(300, 320), *, ellipticity=0.0):
    """A round Gaussian PSF, or one elongated along x by (a^2 - b^2) / (a^2 + b^2)."""
    offset = np.arange(-20, 21)
    x2, y2 = offset**2 / (1.0 + ellipticity), offset[:, None] ** 2 / (1.0 - ellipticity)
    stamp = np.exp(-(x2 + y2) / (2 * sigma**2))
    return PsfModel((stamp / stamp.sum())[None], SpatialPolynomial(shape, 0))


def gaussian_kernel(shape, sigma=1.2, half_width=7, scale=1.0):
    """A matching kernel that is one Gaussian everywhere."""
    offset = np.arange(-half_width, half_width + 1)
    stamp = np.exp(-(offset**2 + offset[:, None] ** 2) / (2 * sigma**2))
    constant = SpatialPolynomial(shape, 0)
    return MatchingKernel(
        (stamp / stamp.sum())[None], np.full((1, 1), scale), constant, np.zeros(1), constant
    )
