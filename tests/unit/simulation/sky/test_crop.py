"""A crop of a simulated pair is the same sky, and its truth moves with it."""

import numpy as np
import pytest

from residua.simulation.sky import centre_crop, scene, simulate_pair
from residua.subtraction.masks import UNUSABLE

FULL, SMALL = (520, 600), (260, 300)
LEFT, UP = 150, 130


@pytest.fixture(scope="module", params=["deep", "distorted"])
def pair(request):
    return simulate_pair(scene(request.param, FULL, transients=20_000.0, patches=(2, 2)), 7)


@pytest.fixture(scope="module")
def cropped(pair):
    return centre_crop(pair, SMALL)


def test_pixels_and_sky_positions_stay(pair, cropped):
    box = (slice(UP, UP + SMALL[0]), slice(LEFT, LEFT + SMALL[1]))
    assert np.array_equal(cropped.science.image, pair.science.image[box])
    assert np.array_equal(cropped.noise_free.static, pair.noise_free.static[box])
    assert cropped.config.shape == SMALL
    here = cropped.science.wcs.pixel_to_world_values(10.0, 20.0)
    there = pair.science.wcs.pixel_to_world_values(10.0 + LEFT, 20.0 + UP)
    assert np.allclose(here, there, rtol=0, atol=1e-10)


def test_every_transient_inside_is_kept_and_those_near_the_edge_are_masked(pair, cropped):
    moved = [(t.x - LEFT, t.y - UP, t.flux) for t in pair.transients]
    inside = [m for m in moved if 0 <= m[0] <= SMALL[1] - 1 and 0 <= m[1] <= SMALL[0] - 1]
    assert len(inside) > 20
    kept = {(t.x, t.y, t.flux) for t in cropped.transients}
    assert set(inside) <= kept
    assert all(
        -0.5 <= t.x < SMALL[1] - 0.5 and -0.5 <= t.y < SMALL[0] - 0.5 for t in cropped.transients
    )
    outside = [m for m in moved if m not in kept]
    near = [(x, y) for x, y, _ in outside if -8 < x < SMALL[1] + 8 and -8 < y < SMALL[0] + 8]
    assert near
    for x, y in near:
        row = min(max(round(y), 0), SMALL[0] - 1)
        column = min(max(round(x), 0), SMALL[1] - 1)
        assert cropped.science.mask[row, column] & UNUSABLE


def test_stars_and_psfs_are_where_they_were(pair, cropped):
    x, y = 40.0, 200.0
    assert np.allclose(
        cropped.science_psf.shape(x, y), pair.science_psf.shape(x + LEFT, y + UP), rtol=1e-12
    )
    world = cropped.science.wcs.pixel_to_world_values(x, y)
    here = cropped.templates[0].wcs.world_to_pixel_values(*world)
    there = pair.templates[0].wcs.world_to_pixel_values(*world)
    assert np.allclose(
        cropped.template_psf.shape(*here), pair.template_psf.shape(*there), rtol=1e-6
    )
    stars = {
        (round(a + LEFT, 6), round(b + UP, 6))
        for a, b in zip(cropped.stars.x, cropped.stars.y, strict=True)
    }
    assert stars
    assert stars <= {
        (round(a, 6), round(b, 6)) for a, b in zip(pair.stars.x, pair.stars.y, strict=True)
    }


def test_the_templates_cover_the_box_and_not_much_more(pair, cropped):
    y, x = np.mgrid[0 : SMALL[0] : 20, 0 : SMALL[1] : 20]
    world = cropped.science.wcs.pixel_to_world_values(x, y)
    covered = np.zeros(x.shape, bool)
    for template, plane in zip(cropped.templates, cropped.noise_free.templates, strict=True):
        assert template.image.shape == template.mask.shape == plane.shape
        u, v = template.wcs.world_to_pixel_values(*world)
        rows, columns = plane.shape
        covered |= (u >= 0) & (u <= columns - 1) & (v >= 0) & (v <= rows - 1)
    assert covered.all()
    assert sum(t.image.size for t in cropped.templates) < sum(t.image.size for t in pair.templates)


def test_a_box_that_does_not_fit_is_refused(pair):
    with pytest.raises(ValueError, match="does not fit"):
        centre_crop(pair, (FULL[0] + 1, 100))
