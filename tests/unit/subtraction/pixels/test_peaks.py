import numpy as np
import pytest
from tests.unit.subtraction.star_fields import SHAPE, field

from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.pixels.peaks import (
    brightest_of_cells,
    crowding,
    find_peaks,
    noise_level,
)


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
