"""Registration of two images of the same stars."""

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.subtraction.align.bulk_offset import match_offset
from residua.subtraction.align.centroids import windowed_centroids
from residua.subtraction.align.pixel_map import make_pixel_map
from residua.subtraction.align.registration import measure_registration, register_map
from residua.subtraction.align.shift_field import ShiftField, fit_field
from residua.subtraction.images import TemplateImage

SHAPE = (700, 760)


def tan(shape, ra=150.0, angle=0.0, scale=0.2, offset=(0.0, 0.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, 2.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + offset[0], (shape[0] + 1) / 2 + offset[1]]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def draw(shape, x, y, flux, sigma, noise, rng):
    image = rng.normal(0.0, noise, shape)
    for px, py, f in zip(x, y, flux, strict=True):
        x0, y0 = max(int(px) - 15, 0), max(int(py) - 15, 0)
        rows = np.arange(y0, min(y0 + 31, shape[0]))[:, None]
        columns = np.arange(x0, min(x0 + 31, shape[1]))
        r2 = (columns - px) ** 2 + (rows - py) ** 2
        image[y0 : y0 + 31, x0 : x0 + 31] += f / (2 * np.pi * sigma**2) * np.exp(-r2 / 2 / sigma**2)
    return image.astype(np.float32)


def pair(move, *, n=250, seed=1, template_angle=25.0, movers=0):
    """Science planes, template and pixel map; every star lies ``move(x, y)`` off in science."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(10, SHAPE[1] - 10, n), rng.uniform(10, SHAPE[0] - 10, n)
    flux = 4e3 * rng.uniform(size=n) ** -1.0
    size = (1100, 1150)
    science_wcs, template_wcs = tan(SHAPE), tan(size, 150.0005, template_angle)
    tx, ty = template_wcs.world_to_pixel_values(*science_wcs.pixel_to_world_values(x, y))
    template = draw(size, tx, ty, flux, 1.8, 3.0, rng)
    dx, dy = move(x, y)
    dx[:movers] += 1.5
    science = draw(SHAPE, x + dx, y + dy, flux, 2.1, 10.0, rng)
    patch = TemplateImage(
        template, np.full(size, 9.0, np.float32), np.zeros(size, np.int32), template_wcs
    )
    planes = science, np.full(SHAPE, 100.0, np.float32), np.zeros(SHAPE, np.int32)
    return planes, patch, make_pixel_map(science_wcs, template_wcs, SHAPE)


def measure(move, **options):
    planes, patch, pixel_map = pair(move, **options)
    return measure_registration(*planes, [patch], [pixel_map], 1)


def constant(dx, dy):
    return lambda x, y: (np.full_like(x, dx), np.full_like(y, dy))


@pytest.mark.parametrize("offset", [(0.3, -0.2), (7.0, -3.0), (30.0, 18.0)])
def test_an_offset_is_found(offset):
    found = measure(constant(*offset))
    # What lies at x + offset belongs where the template's WCS says x.
    assert found.offset == pytest.approx((-offset[0], -offset[1]), abs=0.02)
    assert found.stars > 0.9 * found.offered > 50


def test_a_rotation_is_found():
    angle = np.radians(0.15)

    def turned(x, y):
        u, v = x - 379.5, y - 349.5
        return angle * v, -angle * u

    found = measure(turned)
    assert found.field is not None
    for x, y in ((100.0, 100.0), (600.0, 500.0)):
        expected = turned(np.array([x]), np.array([y]))
        got = found.field.at(x, y)
        assert got == pytest.approx([-expected[0][0], -expected[1][0]], abs=0.04)


def test_a_wave_is_followed_and_movers_are_not():
    def wave(x, y):
        return 0.15 * np.sin(2 * np.pi * y / 650.0), 0.15 * np.cos(2 * np.pi * x / 650.0)

    found = measure(wave, n=400, movers=40)
    assert found.field is not None
    assert found.scale > 0
    y, x = np.mgrid[60:640:40, 60:700:40].astype(float)
    got, expected = found.field.at(x, y), wave(x, y)
    error = np.hypot(got[0] + expected[0], got[1] + expected[1])
    assert np.sqrt(np.mean(error**2)) < 0.05
    assert found.stars < found.offered


@pytest.mark.parametrize("seed", range(5))
def test_images_that_agree_are_left_alone(seed):
    found = measure(constant(0.0, 0.0), seed=seed)
    assert found.field is None
    assert found.rms == found.maximum == 0.0
    assert found.offered > 50


def test_stars_that_do_not_match_say_nothing():
    rng = np.random.default_rng(8)
    planes, patch, pixel_map = pair(constant(0.0, 0.0))
    x, y = rng.uniform(10, 690, (2, 250))
    other = draw(SHAPE, x, y, np.full(250, 2e4), 2.1, 10.0, rng)
    found = measure_registration(other, *planes[1:], [patch], [pixel_map], 1)
    assert found.field is None


def test_a_map_is_moved_by_the_field():
    _, _, pixel_map = pair(constant(0.0, 0.0))
    assert register_map(pixel_map, None) is pixel_map
    nodes = np.full((13, 13), 0.5), np.full((13, 13), -2.0)
    moved = register_map(pixel_map, ShiftField(*nodes))
    expected = pixel_map.positions(300.5, 198.0)
    assert moved.positions(300.0, 200.0) == pytest.approx(expected, abs=2e-3)


def test_votes_of_strangers_elect_nobody():
    rng = np.random.default_rng(2)
    here, there = rng.uniform(0, 1000, (2, 300, 2))
    assert match_offset(here, there).pairs == 0
    assert match_offset(here[:4], here[:4]).pairs == 0


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_votes_of_common_stars_elect_their_offset(share):
    rng = np.random.default_rng(3)
    here = rng.uniform(0, 1000, (300, 2))
    there = here + np.array([12.3, -25.1]) + rng.normal(0, 0.3, here.shape)
    common = rng.random(300) < share
    there[~common] = rng.uniform(0, 1000, (int((~common).sum()), 2))
    found = match_offset(here, there)
    shift = np.ravel(found.at(np.array([500.0]), np.array([500.0])))
    assert shift == pytest.approx([12.3, -25.1], abs=0.15)


def test_centroids_know_their_error():
    rng = np.random.default_rng(5)
    x, y = np.meshgrid(np.arange(20.0, 580, 22), np.arange(20.0, 580, 22))
    x, y = (v.ravel() + rng.uniform(-0.5, 0.5, v.size) for v in (x, y))
    image = draw((600, 600), x, y, np.full(x.size, 4000.0), 2.0, 10.0, rng)
    variance, mask = np.full((600, 600), 100.0, np.float32), np.zeros((600, 600), np.int32)
    found = windowed_centroids(image, variance, mask, 1, np.rint(x), np.rint(y), width=2.0)
    z = np.concatenate([found.x - x, found.y - y]) / np.sqrt(np.tile(found.variance, 2))
    assert np.mean(np.isfinite(z)) > 0.99
    z = z[np.isfinite(z)]
    assert np.std(z) == pytest.approx(1.0, abs=0.08)
    assert np.mean(z) == pytest.approx(0.0, abs=0.1)


def test_a_window_with_a_bad_pixel_has_no_centroid():
    rng = np.random.default_rng(5)
    image = draw((60, 60), [30.0], [30.0], [9000.0], 2.0, 1.0, rng)
    variance, mask = np.ones((60, 60), np.float32), np.zeros((60, 60), np.int32)
    mask[32, 31] = 1
    assert np.isnan(windowed_centroids(image, variance, mask, 1, [30], [30], width=2.0).x[0])
    assert np.isnan(windowed_centroids(image, variance, mask, 1, [3], [30], width=2.0).x[0])


def test_noise_has_no_field():
    rng = np.random.default_rng(7)
    for _ in range(5):
        x, y = rng.uniform(0, 1000, (2, 200))
        variance = rng.uniform(0.01, 0.1, 200) ** 2
        shifts = rng.normal(size=(200, 2)) * np.sqrt(variance)[:, None]
        assert fit_field(x, y, shifts, variance, (1000, 1000)) is None
