"""Skies that the defaults were not made on, by letters.

Scene b is in `test_registration.py`.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from residua.simulation.fidelity import Fidelity, measure_difference, pool
from residua.simulation.sky import SimulatedPair, scene, simulate_pair
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.quality import QualityRecord
from residua.subtraction.subtract import subtract

SEEDS = (7301, 7302, 7303)
SHAPE = (1000, 1018)


def subtracted(pairs: list[SimulatedPair]) -> tuple[Fidelity, list[QualityRecord]]:
    """With the default limits: none of these may be refused."""
    measured, records = [], []
    for pair in pairs:
        difference = subtract(pair.science, pair.templates, threads=2)
        measured.append(measure_difference(difference, pair))
        records.append(difference.quality)
    return pool(measured), records


def sound(fidelity: Fidelity, *, width: float = 0.02, recovered: float = 0.98) -> None:
    assert fidelity.pull == pytest.approx(1.0, abs=0.02)
    assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=width)
    assert fidelity.recovered_above_7 >= recovered
    assert abs(fidelity.flux_pull_median) < 0.3


def quadrants(seed: int, shape: tuple[int, int]) -> SimulatedPair:
    """A coadd of four inputs of other seeing, one a quadrant, with seams that its mask tells."""
    base = scene("deep", shape, patches=(1, 1), stars=14_000.0)
    inputs = [
        simulate_pair(replace(base, template_psf=replace(base.template_psf, fwhm=f)), seed)
        for f in (0.70, 0.78, 0.86, 0.74)
    ]
    template = inputs[0].templates[0]
    ny, nx = (n // 2 for n in template.image.shape)
    planes = [getattr(template, name).copy() for name in ("image", "variance", "mask")]
    corners = (np.s_[:ny, :nx], np.s_[:ny, nx:], np.s_[ny:, :nx], np.s_[ny:, nx:])
    for corner, made in zip(corners, inputs, strict=True):
        for plane, name in zip(planes, ("image", "variance", "mask"), strict=True):
            plane[corner] = getattr(made.templates[0], name)[corner]
    image, variance, mask = planes
    mask[ny - 1 : ny + 1] |= int(MaskBit.SENSOR_EDGE)
    mask[:, nx - 1 : nx + 1] |= int(MaskBit.SENSOR_EDGE)
    coadd = replace(template, image=image, variance=variance, mask=mask)
    return replace(inputs[0], templates=(coadd,))


@pytest.mark.slow
def test_a_coadd_of_inputs_of_other_seeing_gets_a_kernel_for_each():
    pairs = [quadrants(seed, SHAPE) for seed in SEEDS]
    fidelity, records = subtracted(pairs)
    assert fidelity.pull == pytest.approx(1.0, abs=0.02)
    assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=0.02)
    assert fidelity.recovered_above_7 >= 0.98
    assert fidelity.false_positives <= 12 * len(SEEDS)
    assert all(r.kernel_pieces >= 3 for r in records)
    # The same without the seams: one kernel cannot follow.
    seam = ~np.int32(MaskBit.SENSOR_EDGE)
    untold = [
        replace(p, templates=tuple(replace(t, mask=t.mask & seam) for t in p.templates))
        for p in pairs
    ]
    before, _ = subtracted(untold)
    assert fidelity.false_positives < 0.5 * before.false_positives


def test_a_coadd_whose_psf_jumps_is_written_and_says_so():
    pairs = []
    for seed in SEEDS:
        left, right = (
            simulate_pair(
                scene("deep", SHAPE, template_psf=replace(scene("deep").template_psf, fwhm=fwhm)),
                seed,
            )
            for fwhm in (0.70, 0.78)
        )
        pairs.append(replace(left, templates=(left.templates[0], right.templates[1])))
    fidelity, records = subtracted(pairs)
    sound(fidelity)
    # Where one kernel for both patches does, or one for each: what is left is told.
    assert all(r.relative_residual_low < 0.10 for r in records)


@pytest.mark.slow
def test_d_a_hundred_thousand_stars_on_a_detector():
    pairs = [simulate_pair(scene("deep", SHAPE, stars=100_000.0), s) for s in SEEDS]
    fidelity, _ = subtracted(pairs)
    sound(fidelity)
    assert fidelity.false_positives <= 3


def test_e_clouds_that_take_half_of_the_light_and_a_bright_sky():
    clouded = scene("deep", SHAPE, photometric_scale=2.0, sky_noise=17.0 * 5**0.5)
    fidelity, records = subtracted([simulate_pair(clouded, s) for s in SEEDS])
    sound(fidelity)
    assert fidelity.false_positives <= 3
    for record in records:
        assert record.kernel_sum == pytest.approx(0.49, abs=0.02)
        assert "photometric_scale" in {f.name for f in record.flags}


def test_f_a_template_under_a_third_of_the_detector():
    pairs = [simulate_pair(scene("deep", SHAPE, template_coverage=0.35), s) for s in SEEDS]
    fidelity, records = subtracted(pairs)
    sound(fidelity, width=0.04)
    assert all(r.coverage < 0.45 for r in records)


def test_m_a_template_that_was_resampled_before_it_was_added_up():
    taps = np.array([0.12, 0.76, 0.12])
    pairs = []
    for seed in SEEDS:
        pair = simulate_pair(scene("shallow", SHAPE, template_holes=0), seed)
        templates = []
        for patch in pair.templates:
            image = patch.image
            for axis in (0, 1):
                image = ndimage.convolve1d(image, taps, axis=axis, mode="nearest")
            # As coadds do: the variance of a pixel is right, its correlation is not told.
            variance = patch.variance * np.float32(np.sum(taps**2) ** 2)
            templates.append(replace(patch, image=image, variance=variance))
        pairs.append(replace(pair, templates=tuple(templates)))
    fidelity, records = subtracted(pairs)
    sound(fidelity, width=0.02)
    assert all(r.noise_corrected and r.noise_lag1 > 0.02 for r in records)


@pytest.mark.parametrize("factor", [1 / 1.69, 1.69])
def test_n_a_variance_plane_wrong_by_a_factor(factor: float):
    pairs = []
    for seed in SEEDS:
        pair = simulate_pair(scene("deep", SHAPE), seed)
        science = replace(pair.science, variance=pair.science.variance * np.float32(factor))
        templates = tuple(
            replace(t, variance=t.variance * np.float32(factor)) for t in pair.templates
        )
        pairs.append(replace(pair, science=science, templates=templates))
    fidelity, records = subtracted(pairs)
    sound(fidelity)
    for record in records:
        assert record.variance_scale == pytest.approx(factor**-0.5, rel=0.02)
        assert record.noise_corrected
        assert "variance_scale" in {f.name for f in record.flags}


def test_a_variance_plane_wrong_by_a_factor_that_varies():
    ny, nx = SHAPE
    u = np.linspace(-1.0, 1.0, nx, dtype=np.float32)
    v = np.linspace(-1.0, 1.0, ny, dtype=np.float32)[:, None]
    factor = np.exp(np.float32(0.25) * (u + np.float32(0.6) * v * v))
    pair = simulate_pair(scene("deep", SHAPE), SEEDS[0])
    science = replace(pair.science, variance=pair.science.variance * factor)
    made = subtract(science, pair.templates, threads=2)
    assert "variance_varies" in {f.name for f in made.quality.flags}
    free = ((made.mask & int(UNUSABLE)) == 0) & (made.matched_template < 20.0)
    for part in (np.s_[:, :250], np.s_[:, -250:], np.s_[:200], np.s_[400:600]):
        z = (made.image / np.sqrt(made.variance))[part][free[part]]
        assert 1.4826 * np.median(np.abs(z)) == pytest.approx(1.0, abs=0.03)
    plain = subtract(pair.science, pair.templates, threads=2)
    assert "variance_varies" not in {f.name for f in plain.quality.flags}
