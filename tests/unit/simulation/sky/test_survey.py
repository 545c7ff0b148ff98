"""The simulated sky is what its truth says it is."""

from dataclasses import replace

import numpy as np
import pytest

from residua.simulation.sky import (
    SCENES,
    scene,
    simulate_pair,
    simulate_survey,
)
from residua.subtraction.masks import MaskBit

SMALL = (400, 460)


@pytest.mark.parametrize("name", SCENES)
def test_stars_stand_at_one_sky_position_in_both_images(name):
    pair = simulate_pair(scene(name, SMALL, star_count=None, stars=4000.0, transients=0.0), 3)
    stars = pair.stars
    inside = (stars.x > 20) & (stars.x < SMALL[1] - 20) & (stars.y > 20) & (stars.y < SMALL[0] - 20)
    bright = np.flatnonzero(inside & (stars.flux > 2e4) & (stars.flux < 5e5))
    checked = 0
    for index in bright:
        x, y = stars.x[index], stars.y[index]
        neighbours = np.hypot(stars.x - x, stars.y - y) < 40
        if np.sum(stars.flux[neighbours]) > 1.02 * stars.flux[index]:
            continue
        here = _moments(pair.noise_free.static, x, y)
        assert here[:2] == pytest.approx((float(x), float(y)), abs=0.25)
        assert here[2] > 0.85 * stars.flux[index]
        world = pair.science.wcs.pixel_to_world_values(x, y)
        for patch, plane in zip(pair.templates, pair.noise_free.templates, strict=True):
            u, v = patch.wcs.world_to_pixel_values(*world)
            if 20 < u < plane.shape[1] - 20 and 20 < v < plane.shape[0] - 20:
                there = _moments(plane / pair.config.photometric_scale, u, v)
                assert there[:2] == pytest.approx((float(u), float(v)), abs=0.25)
                assert there[2] == pytest.approx(here[2], rel=0.1)
                checked += 1
    assert checked


def _moments(plane, x, y):
    """Centroid and flux within 12 px."""
    column, row = round(float(x)), round(float(y))
    box = plane[row - 12 : row + 13, column - 12 : column + 13].astype(float)
    v, u = np.mgrid[row - 12 : row + 13, column - 12 : column + 13]
    weight = box * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 18.0)
    return np.sum(u * weight) / weight.sum(), np.sum(v * weight) / weight.sum(), box.sum()


def test_same_seed_same_pixels_other_seed_other_pixels():
    a, b, c = (simulate_pair(scene("deep", SMALL), seed) for seed in (1, 1, 2))
    assert np.array_equal(a.science.image, b.science.image)
    assert np.array_equal(a.templates[1].image, b.templates[1].image)
    assert a.transients == b.transients
    assert not np.array_equal(a.science.image, c.science.image)


def test_variance_is_the_noise_that_was_added():
    config = scene("crowded", SMALL, background=(0.0, 0.0, 0.0), noisy_variance=False)
    pair = simulate_pair(config, 4)
    for image, model in (
        (pair.science, pair.noise_free.science),
        (pair.templates[0], pair.noise_free.templates[0]),
    ):
        clean = (image.mask & ~int(MaskBit.DETECTED)) == 0
        pull = ((image.image - model) / np.sqrt(image.variance))[clean]
        assert np.std(pull) == pytest.approx(1.0, abs=0.01)
        assert np.mean(pull) == pytest.approx(0.0, abs=0.02)


def test_a_variance_plane_holds_its_pixels_own_noise():
    config = scene("deep", SMALL, background=(0.0, 0.0, 0.0))
    pair = simulate_pair(config, 4)
    exact = simulate_pair(replace(config, noisy_variance=False), 4).science.variance
    clean = (pair.science.mask & ~int(MaskBit.DETECTED)) == 0
    noise = (pair.science.image - pair.noise_free.science)[clean]
    excess = (pair.science.variance - exact)[clean]
    np.testing.assert_allclose(excess, noise / config.electrons_per_njy, rtol=1e-3, atol=0.05)


def test_patches_share_the_pixels_where_they_overlap():
    left, right = simulate_pair(scene("deep", SMALL), 5).templates
    overlap = scene("deep").patch_overlap
    assert np.array_equal(left.image[:, -overlap:], right.image[:, :overlap])
    where = left.wcs.pixel_to_world_values(left.image.shape[1] - overlap, 0)
    assert np.allclose(right.wcs.world_to_pixel_values(*where), (0, 0), atol=1e-4)


def test_transients_change_one_image_only():
    pair = simulate_pair(scene("deep", SMALL, transients=800.0), 6)
    added = pair.noise_free.science - pair.noise_free.static
    kinds = {t.flux > 0 for t in pair.transients}
    assert kinds == {True, False}
    for transient in pair.transients:
        x, y = round(transient.x), round(transient.y)
        total = added[y - 10 : y + 11, x - 10 : x + 11].sum()
        expected = max(transient.flux, 0.0)
        assert total == pytest.approx(expected, rel=0.06, abs=20.0)
        assert np.sign(transient.flux) == np.sign(transient.expected_sn)
        sky = pair.science.wcs.world_to_pixel_values(transient.ra, transient.dec)
        assert np.allclose(sky, (transient.x, transient.y), atol=1e-3)


def test_partial_coverage_leaves_holes_marked():
    pair = simulate_pair(scene("partial", SMALL), 7)
    empty = [(t.mask & MaskBit.NO_DATA) != 0 for t in pair.templates]
    for template, flags in zip(pair.templates, empty, strict=True):
        assert np.array_equal(np.isnan(template.image), flags)
    assert 0.3 < np.mean(np.concatenate(empty, axis=1)) < 0.6


def test_saturated_stars_bleed_and_are_masked():
    pair = simulate_pair(scene("crowded"), 8)
    saturated = (pair.science.mask & MaskBit.SATURATED) != 0
    assert saturated.any()
    assert np.array_equal(
        saturated & (pair.noise_free.science > 55_000), pair.noise_free.science > 55_000
    )
    assert saturated.sum() > (pair.noise_free.science > 55_000).sum()


@pytest.fixture(scope="module")
def survey():
    return simulate_survey(2, SMALL, visits=3, detectors=2)


def test_survey_covers_all_visits_but_the_last(survey):
    patches = [p.template for p in survey.templates()]
    exposures = list(survey.exposures())
    assert [e.covered for e in exposures] == [True] * 4 + [False] * 2
    assert len({(e.metadata.visit, e.detector) for e in exposures}) == 6
    for exposure in exposures:
        ny, nx = exposure.science.image.shape
        world = exposure.science.wcs.pixel_to_world_values([0, nx, nx / 2], [0, 0, ny])
        hits = np.zeros(3, bool)
        for patch in patches:
            x, y = patch.wcs.world_to_pixel_values(*world)
            hits |= (x > 0) & (x < patch.image.shape[1]) & (y > 0) & (y < patch.image.shape[0])
        assert hits.all() == exposure.covered
        assert bool(exposure.transients) == exposure.covered


def test_survey_is_reproducible_in_any_order(survey):
    again = simulate_survey(2, SMALL, visits=3, detectors=2)
    late = again.exposure(1, 1)
    first = list(survey.exposures())[3]
    assert late.metadata == first.metadata
    assert late.transients == first.transients
    assert np.array_equal(late.science.image, first.science.image)


def test_survey_refuses_what_it_cannot_plan():
    with pytest.raises(ValueError, match="2 visits"):
        simulate_survey(1, SMALL, visits=1)
    with pytest.raises(KeyError, match="no scene 'depe'"):
        scene("depe")
