import numpy as np
import pytest

from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.match.kernel_stars import select_kernel_stars
from residua.subtraction.pixels.peaks import (
    brightest_of_cells,
    crowding,
    find_peaks,
    noise_level,
)

SHAPE = (400, 420)


def field(positions, *, flux=1e4, sigma=1.8, noise=1.0, seed=1):
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    image = np.random.default_rng(seed).normal(0.0, noise, SHAPE)
    for (px, py), f in zip(positions, np.broadcast_to(flux, len(positions)), strict=True):
        image += (
            f / (2 * np.pi * sigma**2) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / sigma**2)
        )
    return image.astype(np.float32), np.full(SHAPE, noise**2, np.float32), np.zeros(SHAPE, np.int32)


def select(image, variance, mask, **changes):
    arguments = {"stamp_half_width": 19, "kernel_half_width": 10} | changes
    return select_kernel_stars(image, variance, image, variance, mask, int(UNUSABLE), **arguments)


def test_peaks_come_brightest_first_and_only_from_usable_pixels():
    positions = [(50, 60), (200, 100), (300, 300)]
    image, _, mask = field(positions, flux=[1e4, 3e4, 2e4])
    mask[300, 300] = int(MaskBit.SATURATED)
    image[100, 350] = np.nan
    peaks = find_peaks(image, mask, int(UNUSABLE), 50.0, 2)
    assert list(zip(peaks.x.tolist(), peaks.y.tolist(), strict=True)) == [(200, 100), (50, 60)]
    assert peaks.values[0] > peaks.values[1]


def test_plateau_is_one_peak():
    image = np.zeros((20, 20), np.float32)
    image[10, 8:11] = 5.0
    assert len(find_peaks(image, np.zeros((20, 20), np.int32), 1, 1.0, 1)) == 1


def test_noise_level_is_that_of_the_good_pixels():
    variance = np.full((100, 100), 9.0, np.float32)
    mask = np.zeros((100, 100), np.int32)
    variance[:60], mask[:60] = 1e6, int(MaskBit.BAD)
    assert noise_level(variance, mask, int(UNUSABLE)) == pytest.approx(3.0)
    assert np.isnan(noise_level(variance, mask | 1, int(UNUSABLE)))


def test_crowding_sums_the_neighbours_light():
    image, _, mask = field([(100, 100), (108, 100), (300, 300)], flux=[1e4, 5e3, 1e4], noise=0.1)
    peaks = find_peaks(image, mask, 1, 50.0, 2)
    values = {(int(x), int(y)): v for x, y, v in zip(
        peaks.x, peaks.y, crowding(peaks, SHAPE, 12.0, 2.0, 3), strict=True)}  # fmt: skip
    assert values[300, 300] == 0.0
    assert values[100, 100] == pytest.approx(0.5, abs=0.05)
    assert values[108, 100] == pytest.approx(2.0, abs=0.2)


def test_brightest_of_cells_keeps_faint_cells():
    image, _, mask = field([(50, 50), (60, 60), (70, 50), (350, 350)], flux=[4e4, 3e4, 2e4, 1e4])
    peaks = find_peaks(image, mask, 1, 50.0, 2)
    kept = brightest_of_cells(peaks, SHAPE, (2, 2), 2)
    assert sorted(kept.x.tolist()) == [50, 60, 350]


def test_stars_are_spread_and_keep_their_distance():
    rng = np.random.default_rng(5)
    positions = list(rng.uniform(30, 370, (120, 2)))
    stars = select(*field(positions, flux=rng.uniform(5e3, 5e4, 120)))
    assert len(stars) > 15
    for k in range(len(stars)):
        apart = np.maximum(np.abs(stars.x - stars.x[k]), np.abs(stars.y - stars.y[k]))
        assert np.sort(apart)[1] >= 19


def test_saturated_neighbour_disqualifies_a_star_and_bad_pixels_only_come_last():
    image, variance, mask = field([(100, 100), (300, 300)], flux=1e5)
    mask[300:303, 318] = int(MaskBit.SATURATED)
    mask[110, 105] = int(MaskBit.BAD)
    stars = select(image, variance, mask)
    assert list(zip(stars.x, stars.y, strict=True)) == [(100, 100)]


def test_image_smaller_than_the_kernel_has_no_stars():
    image, variance, mask = (plane[:20, :20] for plane in field([(10, 10)]))
    assert len(select(image, variance, mask)) == 0
