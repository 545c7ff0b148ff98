import numpy as np
import pytest
from tests.unit.subtraction.measure.stamps_of_gaussians import HALF, gaussian, psf_at_centre

from residua.subtraction.measure.photometry import (
    aperture_flux,
    disc,
    fit_psf,
    forced_flux,
    ring_median,
)

SHAPE = (1, 2 * HALF + 1, 2 * HALF + 1)
GOOD, ZERO = np.ones(SHAPE, bool), np.zeros(1)


def test_a_forced_flux_and_its_error_are_the_formulas():
    profile = gaussian(0.0, 0.0)[None]
    variance = np.random.default_rng(1).uniform(1.0, 3.0, SHAPE)
    flux, error, usable = forced_flux(-250.0 * profile, variance, GOOD, profile)
    assert flux == pytest.approx(-250.0)
    assert error == pytest.approx(np.sqrt((profile**2 * variance).sum()) / (profile**2).sum())
    assert usable.all()


def test_masked_pixels_count_for_nothing_until_too_few_are_left():
    profile = gaussian(0.0, 0.0)[None]
    image = 100.0 * profile
    good = GOOD.copy()
    good[0, HALF, HALF + 1], image[0, HALF, HALF + 1] = False, np.nan
    flux, _, usable = forced_flux(image, np.ones(SHAPE), good, profile)
    assert usable.all()
    assert flux == pytest.approx(100.0)
    good[0, :, HALF - 2 :] = False
    flux, error, usable = forced_flux(image, np.ones(SHAPE), good, profile)
    assert not usable.any()
    assert np.isnan(flux).all()
    assert np.isnan(error).all()


@pytest.mark.parametrize("flux", [400.0, -400.0])
def test_a_fit_finds_the_place_and_its_errors_fall_with_the_flux(flux):
    image = flux * gaussian(0.31, -0.22)[None]
    arguments = (np.ones(SHAPE), GOOD, psf_at_centre(1), (ZERO, ZERO), disc(HALF, 9.0), 2.0)
    fit, brighter = fit_psf(image, *arguments), fit_psf(10.0 * image, *arguments)
    assert (fit.dx, fit.dy) == (pytest.approx(0.31, abs=0.01), pytest.approx(-0.22, abs=0.01))
    assert fit.flux == pytest.approx(flux, rel=1e-3)
    assert fit.moved.all()
    assert fit.x_variance / brighter.x_variance == pytest.approx(100.0, rel=0.01)
    # A Gaussian's position: sigma_x^2 = 8 pi sigma^4 V / F^2.
    assert fit.x_variance == pytest.approx(8.0 * np.pi * 1.7**4 / flux**2, rel=0.02)
    assert fit.pixels == np.count_nonzero(disc(HALF, 9.0))


def test_a_fit_that_runs_away_stays_where_it_began():
    image = 400.0 * gaussian(5.0, 0.0)[None]
    fit = fit_psf(
        image, np.ones(SHAPE), GOOD, psf_at_centre(1), (ZERO, ZERO), disc(HALF, 12.0), 0.3
    )
    assert not fit.moved.any()
    assert fit.dx == 0.0


def test_an_aperture_holds_its_area_and_tells_of_bad_pixels_inside():
    image = np.full(SHAPE, 2.0)
    flux, error, touched = aperture_flux(image, np.full(SHAPE, 4.0), GOOD, ZERO, ZERO, 6.0)
    assert flux == pytest.approx(2.0 * np.pi * 36.0, rel=0.01)
    # On the rim, one pixel wide, a share s counts as s^2: a third on average, not half.
    assert error == pytest.approx(2.0 * np.sqrt(np.pi * (36.0 - 6.0 / 3.0)), rel=0.01)
    assert not touched.any()
    bad = GOOD.copy()
    bad[0, HALF, HALF + 5] = False
    assert aperture_flux(image, image, bad, ZERO, ZERO, 6.0)[2].all()
    assert not aperture_flux(image, image, bad, ZERO, ZERO, 3.0)[2].any()


def test_the_ring_does_not_see_the_source_nor_bad_pixels():
    image = 1e4 * gaussian(0.0, 0.0)[None] + 7.0
    good = GOOD.copy()
    image[0, 0], good[0, 0] = 1e6, False
    assert ring_median(image, good, 9.0, 14.0) == pytest.approx(7.0, abs=0.01)
    assert np.isnan(ring_median(image, ~GOOD, 9.0, 14.0)).all()
