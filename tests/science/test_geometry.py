"""Rotation, seams, coverage and orientation on the sky leave the difference honest."""

import numpy as np
import pytest

from residua.simulation.fidelity import (
    measure,
    measure_difference,
    pool,
    usable_pixels,
)
from residua.simulation.sky import scene
from residua.simulation.trial import run_trial
from residua.subtraction.masks import MaskBit

SHAPE = (700, 640)
DENSE = {"transients": 1200.0, "stars": 8000.0}


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0, 180.0, -143.0])
def test_any_rotation(angle):
    pair, difference = run_trial(scene("deep", SHAPE, template_rotation=angle, **DENSE), 7100)
    fidelity = pool([measure_difference(difference, pair)])
    assert fidelity.pull == pytest.approx(1.0, abs=0.03)
    assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=0.05)
    assert fidelity.lag1 == pytest.approx(0.0, abs=0.01)
    assert fidelity.recovered_above_7 >= 0.95


def test_patch_seams_are_invisible():
    """Pixels fed by several patches, and those around them, are as honest as all others."""
    config = scene("shallow", SHAPE, patches=(2, 2), **DENSE)
    seams, elsewhere = [], []
    for seed in (7200, 7201, 7202):
        pair, difference = run_trial(config, seed)
        world = pair.science.wcs.pixel_to_world_values(*np.meshgrid(*map(np.arange, SHAPE[::-1])))
        patches = np.zeros(SHAPE, int)
        for template in pair.templates:
            x, y = template.wcs.world_to_pixel_values(*world)
            ny, nx = template.image.shape
            patches += (x > -5) & (x < nx + 4) & (y > -5) & (y < ny + 4)
        good = usable_pixels(difference.image, difference.variance, difference.mask)
        for where, into in ((patches > 1, seams), (patches == 1, elsewhere)):
            planes = (difference.image, difference.variance, good & where, difference.psf)
            into.append(measure(*planes, pair))
    seam, rest = pool(seams), pool(elsewhere)
    assert seam.source_free_pixels > 100_000
    for fidelity in (seam, rest):
        assert fidelity.pull == pytest.approx(1.0, abs=0.03)
        assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=0.05)
        assert fidelity.lag1 == pytest.approx(0.0, abs=0.012)


def test_pixels_without_template_say_so():
    pair, difference = run_trial(scene("partial", SHAPE, **DENSE), 7300)
    empty = (difference.mask & MaskBit.NO_DATA) != 0
    assert 0.2 < np.mean(empty) < 0.7
    assert np.all(np.isnan(difference.image[empty]))
    assert np.all(np.isnan(difference.variance[empty]))
    assert np.all(np.isfinite(difference.image[~empty]))
    covered = np.zeros(SHAPE, bool)
    world = pair.science.wcs.pixel_to_world_values(*np.meshgrid(*map(np.arange, SHAPE[::-1])))
    for template in pair.templates:
        x, y = (np.rint(v).astype(int) for v in template.wcs.world_to_pixel_values(*world))
        ny, nx = template.image.shape
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        covered[inside] |= np.isfinite(template.image[y[inside], x[inside]])
    assert np.all(empty[~covered])
    # What is lost beyond the template's own edge is at most the kernels' reach.
    assert np.mean(empty & covered) < 0.25
    assert difference.quality.coverage == pytest.approx(np.mean(covered), abs=0.05)


@pytest.mark.parametrize("name", ["deep", "distorted", "distorted-tpv", "pole", "ra-wrap"])
def test_detections_are_at_the_right_sky_position(name):
    pair, difference = run_trial(scene(name, SHAPE, **DENSE), 7400)
    found = np.array([(d.ra, d.dec) for d in difference.detections])
    bright = [t for t in pair.transients if abs(t.expected_sn) > 15]
    near = []
    for transient in bright:
        turn = (found[:, 0] - transient.ra + 180.0) % 360.0 - 180.0
        east = turn * np.cos(np.radians(transient.dec)) * 3600.0
        north = (found[:, 1] - transient.dec) * 3600.0
        near.append(np.min(np.hypot(east, north)))
    assert len(bright) > 5
    # 0.1 arcsec is half a pixel; a saturated neighbour may hide one of them.
    assert np.mean(np.array(near) < 0.1) > 0.9


def test_sources_of_the_template_are_negative():
    pair, difference = run_trial(
        scene("shallow", SHAPE, negative_fraction=0.5, cosmic_rays=0.0, bad_columns=0.0, **DENSE),
        7500,
    )
    bright = [t for t in pair.transients if abs(t.expected_sn) > 10]
    # A peak on pixels saturated in the template has no flux, and says so.
    found = {
        (round(d.x), round(d.y)): np.sign(d.flux)
        for d in difference.detections
        if not d.psf_flux_flag
    }
    checked = 0
    for transient in bright:
        near = [
            sign
            for (x, y), sign in found.items()
            if abs(x - transient.x) < 2.5 and abs(y - transient.y) < 2.5
        ]
        if near:
            assert near[0] == np.sign(transient.flux)
            checked += 1
    assert checked > 0.9 * len(bright) > 5
