"""A galaxy as large as a mesh's cells is no sky; moonlight is."""

import numpy as np
import pytest

from residua.storage.read.plain.slow_sky import estimate_slow_sky

SHAPE = (640, 620)


def sky(seed, *, moon=0.0, curve=0.0, galaxy=0.0, scale=60.0, noise=20.0, shape=SHAPE):
    """Noise, a slope, a curved surface, and a galaxy off the centre; returns truth and image."""
    y, x = (np.arange(n) / n - 0.5 for n in shape)
    truth = 400.0 + moon * x + 0.0 * y[:, None] + curve * (x**2 - 0.5 * y[:, None] ** 2)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - 0.45 * shape[0], columns - 0.6 * shape[1])
    image = truth + galaxy * np.exp(-distance / scale)
    return truth, image + np.random.default_rng(seed).normal(0.0, noise, shape)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("moon", "curve"), [(0.0, 0.0), (300.0, 0.0), (-150.0, 200.0)])
def test_moonlight_is_followed_to_a_twentieth_of_the_noise(moon, curve, seed):
    truth, image = sky(seed, moon=moon, curve=curve)
    found = estimate_slow_sky(image, np.ones(SHAPE, np.bool_))
    assert np.abs(found.background - truth).max() < 0.15 * 20.0
    assert np.sqrt(np.mean((found.background - truth) ** 2)) < 0.05 * 20.0
    assert found.noise == pytest.approx(20.0, rel=0.05)


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize("scale", [20.0, 40.0])
def test_a_galaxy_leaves_no_hole(scale, seed):
    truth, image = sky(seed, moon=300.0, galaxy=900.0, scale=scale)
    found = estimate_slow_sky(image, np.ones(SHAPE, np.bool_))
    near = np.s_[210:370, 300:440]
    # A mesh of 128 px takes several times the noise off the galaxy.
    assert np.abs(found.background - truth)[near].max() < 20.0
    assert np.sqrt(np.mean((found.background - truth) ** 2)) < 0.5 * 20.0


def test_few_cells_give_a_constant_and_none_gives_nothing():
    _, image = sky(6, shape=(90, 100))
    found = estimate_slow_sky(image, np.ones(image.shape, np.bool_))
    assert np.ptp(found.background) == 0.0
    assert found.level == pytest.approx(400.0, abs=2.0)
    nothing = estimate_slow_sky(image, np.zeros(image.shape, np.bool_))
    assert not nothing.background.any()
    assert np.isnan(nothing.noise)
