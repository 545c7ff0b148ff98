"""Trails are found far below the noise of a pixel; stars, spikes and noise make none."""

import numpy as np
import pytest

from residua.subtraction.detect.radon import ORIENTATIONS, line_pixels, line_sums, oriented
from residua.subtraction.detect.streak_marks import mark_streaks, streak_marks
from residua.subtraction.detect.streaks import find_streaks
from residua.subtraction.masks import MaskBit

SHAPE = (900, 1000)


def planes(seed, streaks=(), gap=None):
    rng = np.random.default_rng(seed)
    image = rng.normal(0.0, 1.0, SHAPE)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    for peak, x0, y0, angle in streaks:
        across = (x - x0) * np.sin(angle) - (y - y0) * np.cos(angle)
        lit = peak * np.exp(-0.5 * (across / 2.5) ** 2)
        if gap:
            along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
            lit[np.abs(along) < gap] = 0.0
        image += lit
    model, good = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.bool_)
    return image.astype(np.float32), np.ones(SHAPE, np.float32), model, good


def test_line_sums_are_the_sums_along_the_lines():
    plane = np.random.default_rng(1).normal(0.0, 1.0, (16, 16)).astype(np.float32)
    for orientation in ORIENTATIONS:
        sums = line_sums(oriented(plane, orientation))
        for rise, start in ((0, 3), (15, 0), (7, -2), (4, 10)):
            rows, columns = line_pixels(16, orientation, start, rise)
            near = plane[rows, columns].sum()
            # The dyadic line may step a column earlier or later than the rounded one.
            exact = rise in (0, 15)
            assert exact is False or sums[rise, start + 16] == pytest.approx(near, abs=1e-4)
        total = oriented(plane, orientation).sum()
        assert sums[0].sum() == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("angle", [0.02, 0.6, 1.2, 2.0, 2.9])
@pytest.mark.parametrize("peak", [0.35, 8.0])
def test_trails_of_any_direction_and_brightness(angle, peak):
    image, variance, model, good = planes(3, [(peak, 480.0, 430.0, angle)])
    (streak,) = find_streaks(image, variance, model, good, 1.0)
    direction = np.arctan2(streak.y1 - streak.y0, streak.x1 - streak.x0)
    turn = (direction - angle + np.pi / 2) % np.pi - np.pi / 2
    assert abs(turn) < 0.01
    mask = np.zeros(SHAPE, np.int32)
    mark_streaks(mask, good, streak_marks((streak,)))
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    across = np.abs((x - 480) * np.sin(angle) - (y - 430) * np.cos(angle))
    marked = (mask & int(MaskBit.STREAK)) != 0
    np.testing.assert_array_equal(marked, ~good)
    assert np.mean(marked[across < 1.0]) > 0.95
    assert not marked[across > 30].any()
    if peak > 1:
        assert not (np.abs(peak * np.exp(-0.5 * (across / 2.5) ** 2)) > 0.8)[~marked].any()


def test_two_trails_and_a_gap():
    image, variance, model, good = planes(
        5, [(1.0, 300.0, 300.0, 0.4), (1.0, 700.0, 500.0, 2.2)], gap=60.0
    )
    assert len(find_streaks(image, variance, model, good, 1.0)) == 2


@pytest.mark.parametrize("seed", range(6))
def test_noise_sources_and_spikes_are_no_trail(seed):
    image, variance, model, good = planes(20 + seed)
    rng = np.random.default_rng(seed)
    for _ in range(60):
        y, x = rng.integers(30, 870), rng.integers(30, 970)
        image[y - 2 : y + 3, x - 2 : x + 3] += rng.uniform(5, 100)
    for _ in range(12):
        y, x = rng.integers(200, 700), rng.integers(200, 800)
        image[y, x - 60 : x + 60] += 2.0
        image[y - 60 : y + 60, x] += 2.0
    assert find_streaks(image, variance, model, good, 1.0) == ()
