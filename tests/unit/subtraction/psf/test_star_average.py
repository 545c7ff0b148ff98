"""The average of known stars is their PSF, wherever in a pixel they lie."""

import numpy as np
import pytest

from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.psf.stack import STAMP_MARGIN
from residua.subtraction.psf.star_average import average_stars
from residua.subtraction.psf.star_locus import PsfStars

SIGMA = 1.8
FWHM = 2.3548 * SIGMA
HALF = 15


def stars(flux, noise=1.0, n=15, seed=1):
    """Stamps of Gaussian stars of these fluxes, off their pixels' centres by up to half a pixel."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(30, 370, n), rng.uniform(30, 370, n)
    reach = HALF + STAMP_MARGIN
    offset = np.arange(-reach, reach + 1)
    dx, dy = x - np.rint(x), y - np.rint(y)
    squares = (offset - dx[:, None])[:, None, :] ** 2 + (offset - dy[:, None])[:, :, None] ** 2
    stamps = np.broadcast_to(flux, n)[:, None, None] * np.exp(-squares / (2 * SIGMA**2))
    stamps = stamps / (2 * np.pi * SIGMA**2) + rng.normal(0, noise, squares.shape)
    widths = np.full(n, SIGMA)
    return stamps.astype(np.float32), PsfStars(x, y, widths, np.full(n, 100.0))


def average(stamps, found):
    return average_stars(
        stamps, found, np.zeros(len(found)), (400, 400), 1.0, FWHM, (5.5 * FWHM, 8.0 * FWHM)
    )


def test_the_average_is_the_psf():
    psf, used = average(*stars(np.geomspace(3e3, 1e5, 15)))
    assert used >= 10
    assert psf.fwhm() == pytest.approx(FWHM, rel=0.02)
    for place in ((50.0, 60.0), (350.0, 200.0)):
        stamp = psf.stamp(*place)
        assert stamp.sum() == pytest.approx(1.0, abs=1e-6)
        assert np.unravel_index(np.argmax(stamp), stamp.shape) == (HALF, HALF)


def test_a_star_that_is_none_is_left_out():
    stamps, found = stars(2e4)
    whole, of_all = average(stamps, found)
    # One of them twice as wide.
    offset = np.arange(stamps.shape[1]) - stamps.shape[1] // 2
    wide = np.exp(-(offset**2 + offset[:, None] ** 2) / (2 * (2 * SIGMA) ** 2))
    stamps[0] = 2e4 * wide / wide.sum()
    psf, used = average(stamps, found)
    assert used < of_all
    assert psf.fwhm() == pytest.approx(whole.fwhm(), rel=0.01)


def test_without_any_positive_flux_there_is_no_psf():
    with pytest.raises(InsufficientKernelStarsError):
        average(*stars(-2e4))
