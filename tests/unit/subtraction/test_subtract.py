"""The chain as a whole: errors, roles, determinism; fidelity is judged in tests/science."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction import (
    BadImageError,
    BadSubtractionError,
    InsufficientCoverageError,
    InsufficientKernelStarsError,
    SubtractionConfig,
)
from residua.subtraction.config import NO_LIMITS
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.subtract import subtract

SHAPE = (460, 500)


@cache
def pair(name="deep", seed=9301):
    # A dense field, so that a small frame has stars enough.
    return simulate_pair(scene(name, SHAPE, stars=12000.0, transients=1500.0), seed)


@cache
def difference(name="deep", seed=9301):
    simulated = pair(name, seed)
    return subtract(simulated.science, simulated.templates)


def flux_ratio(simulated, result):
    """Weighted mean of measured over true flux of the bright transients."""
    ratios, weights = [], []
    for t in simulated.transients:
        near = [d for d in result.detections if np.hypot(d.x - t.x, d.y - t.y) < 1.0]
        if abs(t.expected_sn) > 10 and near:
            ratios.append(near[0].flux / t.flux)
            weights.append((t.flux / near[0].flux_error) ** 2)
    assert len(ratios) >= 3
    return np.average(ratios, weights=weights), 1.0 / np.sqrt(np.sum(weights))


@pytest.mark.parametrize(
    ("name", "convolved"), [("deep", "template"), ("worse-template", "science")]
)
def test_transients_have_their_flux_and_sign_in_both_roles(name, convolved):
    simulated, result = pair(name), difference(name)
    assert result.convolved == convolved
    ratio, error = flux_ratio(simulated, result)
    assert ratio == pytest.approx(1.0, abs=0.02 + 3 * error)
    scale = 1.02 if convolved == "science" else 1.0 / 1.02
    assert result.quality.kernel_sum == pytest.approx(scale, abs=0.01)


def test_every_pixel_says_what_it_is():
    result = difference()
    missing = (result.mask & MaskBit.NO_DATA) != 0
    assert np.array_equal(np.isnan(result.image), missing)
    assert np.array_equal(np.isnan(result.variance), missing)
    assert np.all(result.variance[~missing] > 0)
    masked = 1.0 - result.quality.masked_fraction
    assert np.mean((result.mask & int(UNUSABLE)) == 0) == pytest.approx(masked)
    detected = (result.mask & MaskBit.DETECTED) != 0
    for d in result.detections:
        if d.signal_to_noise > 0:
            assert detected[round(d.y), round(d.x)]
    assert result.psf.stamp(200.0, 200.0).sum() == pytest.approx(1.0)


def test_threads_do_not_change_a_bit():
    simulated = pair()
    one = subtract(simulated.science, simulated.templates, threads=1)
    two = difference()
    for name in ("image", "variance", "mask", "matched_template"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert repr(one.detections) == repr(two.detections)  # what was not measured is NaN
    assert repr(one.quality) == repr(two.quality)


def test_inputs_are_not_changed():
    simulated = pair()
    before = [
        plane.copy()
        for image in (simulated.science, *simulated.templates)
        for plane in (image.image, image.variance, image.mask)
    ]
    subtract(simulated.science, simulated.templates)
    subtract(simulated.science, simulated.templates, SubtractionConfig(convolve="science"))
    after = [
        plane
        for image in (simulated.science, *simulated.templates)
        for plane in (image.image, image.variance, image.mask)
    ]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_masked_garbage_does_not_leak():
    simulated = pair()
    image, mask = simulated.science.image.copy(), simulated.science.mask.copy()
    image[200:204, 100:400] = 1e7
    mask[200:204, 100:400] |= int(MaskBit.BAD)
    spoilt = dataclasses.replace(simulated.science, image=image, mask=mask)
    result = subtract(spoilt, simulated.templates)
    band = [d for d in result.detections if 190 <= d.y <= 213]
    expected = [d for d in difference().detections if 190 <= d.y <= 213]
    assert len(band) <= len(expected) + 1
    assert result.quality.matched_filter_sn_std == pytest.approx(1.0, abs=0.05)


def test_no_template_and_no_overlap_are_insufficient_coverage():
    simulated = pair()
    with pytest.raises(InsufficientCoverageError):
        subtract(simulated.science, [])
    wcs = simulated.templates[0].wcs.deepcopy()
    wcs.wcs.crval = [30.0, -40.0]
    elsewhere = dataclasses.replace(simulated.templates[0], wcs=wcs)
    with pytest.raises(InsufficientCoverageError) as error:
        subtract(simulated.science, [elsewhere])
    assert error.value.numbers["coverage"] == 0.0


def test_coverage_below_the_minimum_carries_its_number():
    simulated = pair()
    with pytest.raises(InsufficientCoverageError) as error:
        subtract(
            simulated.science, simulated.templates[:1], SubtractionConfig(minimum_coverage=0.95)
        )
    assert 0.2 < error.value.numbers["coverage"] < 0.95


def test_empty_sky_has_too_few_stars():
    empty = simulate_pair(scene("deep", SHAPE, stars=0.0, galaxies=0.0, transients=0.0), 9302)
    with pytest.raises(InsufficientKernelStarsError):
        subtract(empty.science, empty.templates)


def test_with_both_psfs_given_no_star_is_needed():
    config = scene("deep", SHAPE, stars=0.0, galaxies=0.0, transients=1000.0, with_psf=True)
    simulated = simulate_pair(dataclasses.replace(config, photometric_scale=1.0), 9302)
    result = subtract(simulated.science, simulated.templates)
    assert result.quality.kernel_stars == 0
    assert result.quality.kernel_sum == pytest.approx(1.0)
    assert result.quality.matched_filter_sn_std == pytest.approx(1.0, abs=0.05)
    found = np.array([(d.x, d.y) for d in result.detections])
    bright = [t for t in simulated.transients if abs(t.expected_sn) > 8]
    missed = [t for t in bright if np.hypot(*(found - (t.x, t.y)).T).min() > 2]
    assert len(missed) <= 0.1 * len(bright)


def test_units_and_nan_planes_are_refused():
    simulated = pair()
    with pytest.raises(BadImageError):
        subtract(dataclasses.replace(simulated.science, unit="adu"), simulated.templates)
    nan = np.full_like(simulated.science.image, np.nan)
    with pytest.raises(BadImageError):
        subtract(dataclasses.replace(simulated.science, image=nan), simulated.templates)


def test_all_nan_template_covers_nothing():
    simulated = pair()
    nan = [dataclasses.replace(t, image=np.full_like(t.image, np.nan)) for t in simulated.templates]
    with pytest.raises(InsufficientCoverageError):
        subtract(simulated.science, nan)


def spoilt(simulated, *, science_factor=1.0, template_factor=1.0):
    """The pair with variance planes wrong by factors."""
    science = simulated.science
    return dataclasses.replace(science, variance=science.variance * np.float32(science_factor)), [
        dataclasses.replace(t, variance=t.variance * np.float32(template_factor))
        for t in simulated.templates
    ]


def test_slightly_wrong_variance_is_corrected_and_flagged():
    planes = spoilt(pair(), science_factor=0.7, template_factor=0.7)
    result = subtract(*planes)
    (flag,) = (f for f in result.quality.flags if f.name == "variance_scale")
    assert flag.value == pytest.approx(1.0 / np.sqrt(0.7), abs=0.02)
    assert flag.limit < flag.value
    assert result.quality.noise_corrected
    assert result.quality.noise_ratio == pytest.approx(1.0, abs=0.02)
    assert result.quality.matched_filter_sn_std == pytest.approx(1.0, abs=0.05)
    kept = subtract(*planes, SubtractionConfig(noise_correction=None))
    assert not kept.quality.noise_corrected
    (flag,) = (f for f in kept.quality.flags if f.name == "noise_ratio")
    assert flag.value == pytest.approx(1.0 / np.sqrt(0.7), abs=0.02)


def test_useless_variance_fails_before_anything_is_detected():
    with pytest.raises(BadSubtractionError, match=r"1[56].\d times too small") as error:
        subtract(*spoilt(pair(), science_factor=1 / 16, template_factor=1 / 16))
    assert error.value.numbers["noise_ratio"] == pytest.approx(4.0, abs=0.1)


def test_no_limits_write_what_comes():
    config = SubtractionConfig(limits=NO_LIMITS)
    result = subtract(*spoilt(pair(), science_factor=1 / 16, template_factor=1 / 16), config)
    assert len(result.detections) > 1000
    assert "noise_ratio" in {f.name for f in result.quality.flags}


def test_more_peaks_than_a_sky_has_are_refused_by_number():
    limits = dataclasses.replace(NO_LIMITS, peaks_per_area=0.02)
    with pytest.raises(BadSubtractionError, match="peaks lie beyond 5 sigma"):
        subtract(
            *spoilt(pair(), science_factor=1 / 16, template_factor=1 / 16),
            SubtractionConfig(limits=limits),
        )


def test_sound_image_has_no_flag_and_a_limiting_magnitude():
    quality = difference().quality
    assert quality.flags == ()
    assert quality.limiting_magnitude == pytest.approx(24.1, abs=0.3)
    assert quality.relative_residual < 0.03


def test_given_psf_is_used():
    simulated = simulate_pair(
        scene("deep", SHAPE, stars=12000.0, transients=1500.0, with_psf=True), 9301
    )
    result = subtract(simulated.science, simulated.templates)
    given = simulated.science.psf.coefficients
    # As it is kept: in multiples of 2^-24.
    np.testing.assert_allclose(result.science_psf.coefficients, given, rtol=0, atol=2.0**-25)
    measured = difference().science_psf
    assert measured.fwhm() == pytest.approx(result.science_psf.fwhm(), rel=0.02)
