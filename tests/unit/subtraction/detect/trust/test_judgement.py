"""Flags and failures of the quality record."""

import dataclasses

import numpy as np
import pytest

from residua.subtraction.config import NO_LIMITS, QualityLimits
from residua.subtraction.detect.trust.judgement import check_match, check_noise, quality_flags
from residua.subtraction.detect.trust.sky_noise import SkyNoise, sky_noise
from residua.subtraction.detect.trust.star_residuals import StarResiduals, star_residuals
from residua.subtraction.errors import BadSubtractionError
from residua.subtraction.quality import QualityRecord

GOOD_NOISE = SkyNoise(10**6, 1.0, 0.001, 1.005, 0.005, 0.0)
GOOD_STARS = StarResiduals(100, 0.004, 0.0, 0.0003, 0.001, 0.0, 0.001, 0.005, 0.01, 0.03)
NAN = float("nan")


def record(**changes):
    fields = dict.fromkeys(QualityRecord.__dataclass_fields__, 0.0) | {
        "kernel_sum": 1.0, "kernel_chi2": 1.0, "kernel_stars": 50, "science_fwhm": 4.5,
        "template_fwhm": 4.0, "noise_ratio": 1.0, "sky_structure": 1.0, "stars_judged": 100,
        "detections_positive": 30, "detections_negative": 5, "variance_scale": 1.0,
    }  # fmt: skip
    return QualityRecord(**(fields | changes))


def test_sound_record_has_no_flag():
    assert quality_flags(record(), GOOD_NOISE, "nJy") == ()


@pytest.mark.parametrize(
    ("changes", "name", "limit"),
    [
        ({"relative_residual_low": 0.05}, "relative_residual", 0.03),
        ({"flux_residual": -0.02, "flux_residual_error": 0.001}, "flux_residual", -0.01),
        ({"wing_residual": 0.009, "wing_residual_error": 0.001}, "wing_residual", 0.007),
        ({"astrometric_shift": 0.11}, "astrometric_shift", 0.0405),
        ({"psf_width_residual": 0.05}, "psf_width_residual", 0.04),
        ({"noise_ratio": 1.14}, "noise_ratio", 1.034),
        ({"noise_ratio": 0.88, "kernel_chi2": 0.77}, "noise_ratio", 0.966),
        ({"sky_structure": 1.1}, "sky_structure", 1.06),
        ({"variance_scale": 1.3, "noise_corrected": True}, "variance_scale", 1.1),
        ({"kernel_chi2": 1.4}, "kernel_chi2", 1.1),
        ({"kernel_stars": 40, "kernel_stars_rejected": 22}, "kernel_stars_rejected", 0.33),
        ({"dipole_fraction": 0.2}, "dipoles", 0.1),
        ({"kernel_sum": 0.39}, "photometric_scale", 0.8),
        ({"stars_judged": 2, "relative_residual_low": NAN}, "few_stars", 3),
        ({"template_fwhm": 1.6}, "undersampled", 2.0),
    ],
)
def test_each_flag_has_its_number(changes, name, limit):
    (flag,) = quality_flags(record(**changes), GOOD_NOISE, "nJy")
    assert flag.name == name
    assert flag.limit == pytest.approx(limit)


def test_uncertain_figures_and_counts_raise_no_flag():
    uncertain = record(flux_residual=0.02, flux_residual_error=0.01)
    assert quality_flags(uncertain, GOOD_NOISE, "nJy") == ()
    assert quality_flags(record(kernel_sum=0.39), GOOD_NOISE, "adu") == ()
    assert quality_flags(record(dipole_fraction=0.5, detections_positive=3), GOOD_NOISE, "") == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"noise_ratio": 3.2}, "10.2 times too small"),
        ({"noise_ratio": 0.3}, "11.1 times too large"),
        ({"structure": 2.8, "background": 1.1}, "gradient, fringes"),
        ({"structure": 1.6}, "correlated"),
    ],
)
def test_noise_that_is_none_fails_with_its_cause(changes, says):
    bad = dataclasses.replace(GOOD_NOISE, **changes)
    with pytest.raises(BadSubtractionError, match=says) as error:
        check_noise(bad, QualityLimits())
    assert error.value.numbers
    check_noise(bad, NO_LIMITS)
    check_noise(GOOD_NOISE, QualityLimits())


def test_small_images_are_judged_with_their_errors():
    small = dataclasses.replace(GOOD_NOISE, structure=1.45, structure_error=0.05)
    check_noise(small, QualityLimits())
    with pytest.raises(BadSubtractionError):
        check_noise(dataclasses.replace(small, structure=1.55), QualityLimits())


def match(stars=GOOD_STARS, limits=None, **changes):
    values = {"kernel_sum": 1.0, "kernel_chi2": 1.0, "fwhm": 4.5, "hints": ()} | changes
    check_match(stars, limits=limits or QualityLimits(), **values)


@pytest.mark.parametrize(
    ("stars", "changes", "says"),
    [
        ({"power": 0.3, "power_low": 0.28}, {}, "0.300 of the stars' own image"),
        ({"power": 0.8, "power_low": 0.7, "shift": 1.2}, {}, "shifted by 1.20 px"),
        ({"power": 0.3, "power_low": 0.28, "width": 0.9}, {}, "PSF is 25 % narrower"),
        ({"flux": -0.09}, {}, r"\+9.0 % off the stars' own flux ratio"),
        ({}, {"kernel_chi2": 46.0}, "chi.2 of 46.0"),
        ({}, {"kernel_sum": -2.6}, "sum -2.6"),
        ({}, {"kernel_sum": NAN}, "sum nan"),
        ({"power": 0.3, "power_low": 0.28}, {"hints": ("no pixel is flagged",)}, "no pixel is"),
    ],
)
def test_bad_match_fails_with_its_cause(stars, changes, says):
    match()
    with pytest.raises(BadSubtractionError, match=says) as error:
        match(dataclasses.replace(GOOD_STARS, **stars), **changes)
    assert "kernel_sum" in error.value.numbers


def test_unmeasured_stars_judge_nothing():
    match(StarResiduals(1, *(NAN,) * 9))


SHAPE = (300, 320)
SIGMA = 2.0
FWHM = 2.3548 * SIGMA


def stars_image(shift=0.0, scale=1.0, seed=3, variable=0.0):
    """Model, and a difference of it with a shifted and scaled copy, both noise-free."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    model, science = np.zeros(SHAPE), np.zeros(SHAPE)
    for row in range(30, 280, 40):
        for column in range(30, 300, 40):
            flux = 10 ** rng.uniform(4, 5)
            change = 1.25 if rng.random() < variable else 1.0
            for plane, dx, f in ((model, 0.0, flux), (science, shift, flux * scale * change)):
                r2 = (x - column - dx) ** 2 + (y - row) ** 2
                np.add(plane, f / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * r2 / SIGMA**2), out=plane)
    noise = rng.normal(0.0, 1.0, SHAPE)
    return model.astype(np.float32), (science - model + noise).astype(np.float32)


def residuals(model, difference):
    ones, good = np.ones(SHAPE, np.float32), np.ones(SHAPE, np.bool_)
    return star_residuals(
        difference, ones, model, good, np.zeros(SHAPE, np.int32),
        sigma=1.0, fwhm=FWHM, variance_factor=1.0,
    )  # fmt: skip


def test_residuals_of_a_perfect_match_are_none():
    found = residuals(*stars_image())
    assert found.stars >= 15
    assert found.power < 0.006
    assert found.power_low == 0.0
    assert abs(found.flux) < 3 * found.flux_error


def test_variable_stars_are_no_fault_of_the_subtraction():
    found = residuals(*stars_image(variable=0.2))
    assert found.power_low < 0.01
    assert abs(found.flux) < 0.005


@pytest.mark.parametrize("shift", [0.05, 0.3])
def test_shift_is_measured(shift):
    found = residuals(*stars_image(shift=shift))
    # A common shift along one axis: sqrt(1 / 2 ln 2) of it is the rms of one that is random.
    assert found.shift == pytest.approx(0.85 * shift, rel=0.1)
    assert found.power == pytest.approx(shift / (np.sqrt(2.0) * SIGMA), rel=0.15)


def test_scale_is_measured():
    found = residuals(*stars_image(scale=1.05))
    assert found.flux == pytest.approx(0.05, abs=0.003)
    assert found.power == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("factor", [0.1, 1.0, 4.0])
def test_noise_of_the_sky_is_measured_whatever_the_variance_says(factor):
    rng = np.random.default_rng(4)
    noise = rng.normal(0.0, 1.0, (500, 520)).astype(np.float32)
    variance = np.full(noise.shape, factor, np.float32)
    model = rng.normal(0.0, 0.3, noise.shape).astype(np.float32)
    model[200:210] = 1e4
    found = sky_noise(
        noise, variance, noise / np.sqrt(variance), model, np.ones(noise.shape, np.bool_),
        sigma=float(np.sqrt(factor)), effective_area=1.0,
    )  # fmt: skip
    assert found.noise_ratio == pytest.approx(1.0 / np.sqrt(factor), rel=0.02)
    assert found.structure == pytest.approx(1.0, abs=0.02)
    assert found.background < 0.05
