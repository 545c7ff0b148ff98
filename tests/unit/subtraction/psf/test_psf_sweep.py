"""The PSF measurement over every width and shape that a night may bring."""

import numpy as np
import pytest
from tests.science.odd_sky import Night, observe
from tests.unit.subtraction.star_frames import SHAPES, effective_fwhm, star_frame

from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.psf.measure import measure_psf
from residua.subtraction.psf.stack import Moffat, smooth_wings

_TOLERANCE = 0.02
_SAMPLED = {"ring": 3.4}
_LEAST_SAMPLED = 2.0
"""Effective FWHM in pixels below which a profile is too coarsely sampled to be shifted."""


def check(shape, fwhm: float, seed: int) -> None:
    image = star_frame(shape, fwhm, seed)
    variance, mask = np.ones_like(image), np.zeros(image.shape, np.int32)
    psf, stars = measure_psf(image, variance, mask)
    assert np.all(np.isfinite(psf.coefficients)), (shape, fwhm)
    assert stars >= 3, (shape, fwhm)
    if fwhm >= _SAMPLED.get(shape, _LEAST_SAMPLED):
        assert psf.fwhm() == pytest.approx(effective_fwhm(shape, fwhm), rel=_TOLERANCE), fwhm


# Widths at which a column of the wing's design once had no pixel, and a coarse grid beside them.
BROKEN = (2.37, 3.487, 3.51, 3.54, 3.585, 3.64, 3.92, 3.98, 4.0, 7.67, 8.1)
COARSE = (1.3, 1.6, 1.9, 2.4, 3.0, 4.3, 5.4, 6.3, 9.7)


@pytest.mark.parametrize("shape", SHAPES)
def test_any_seeing_gives_a_finite_psf_of_the_true_width(shape):
    for k, fwhm in enumerate(BROKEN + COARSE if shape in {"gaussian", "moffat"} else COARSE):
        check(shape, fwhm, seed=k)


def test_few_stars_among_many_galaxies_make_the_psf():
    night = Night(stars=8, galaxies=700, faintest_star=8000.0)
    for seed in (2, 3):
        made = observe(night, seed)
        for image in (made.science, made.template):
            psf, stars = measure_psf(image.image, image.variance, image.mask)
            assert stars >= 3
            truth = 4.95 if image is made.science else 4.39
            assert psf.fwhm() == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("shape", ["gaussian", "ring"])
def test_the_widest_stars_are_found(shape):
    check(shape, 14.6, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first", range(13, 150, 10))
def test_full_sweep(shape, first: int):
    for hundredth in range(first * 10, min(first * 10 + 100, 1501)):
        check(shape, hundredth / 100.0, seed=hundredth)


def test_wings_are_finite_for_every_width_in_fine_steps():
    offset = np.arange(-20, 21)
    r2 = (offset**2 + offset[:, None] ** 2).astype(np.float64)
    for fwhm in np.arange(1.3, 15.0, 0.005):
        sigma = fwhm / 2.3548
        image = np.exp(-0.5 * r2 / sigma**2)
        moffat = Moffat(1.0, fwhm, 3.0)
        wings = smooth_wings(image, (1.75 * fwhm, 2.5 * fwhm), (2.5 * fwhm, 3.5 * fwhm), moffat)
        assert np.all(np.isfinite(wings)), fwhm


def test_no_star_at_any_binning_says_so():
    noise = np.random.default_rng(3).normal(0.0, 1.0, (300, 300)).astype(np.float32)
    with pytest.raises(InsufficientKernelStarsError, match="no isolated unsaturated star"):
        measure_psf(noise, np.ones_like(noise), np.zeros(noise.shape, np.int32))
