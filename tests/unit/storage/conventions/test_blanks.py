import numpy as np
import pytest

from residua.storage.conventions.blanks import find_blanks


@pytest.fixture
def sky():
    return np.random.default_rng(1).normal(100.0, 5.0, (200, 210)).astype(np.float32)


@pytest.mark.parametrize("value", [0.0, -32768.0, -1e30])
def test_connected_pixels_of_one_value_are_no_sky(sky, value):
    sky[:40, :50] = value
    found = find_blanks(sky, np.isfinite(sky))
    assert found.no_data[:40, :50].all()
    assert found.no_data.sum() == 2000
    assert not found.saturated.any()
    assert "2000 pixels" in found.notes[0]


def test_flat_tops_of_stars_are_saturated_and_no_hole(sky):
    sky[60:68, 60:68] = 60000.0
    sky[120, 120:126] = 60000.0
    found = find_blanks(sky, np.isfinite(sky))
    assert found.saturated[60:68, 60:68].all()
    assert found.saturated[120, 120:126].all()
    assert not found.no_data.any()


def test_pixels_absurdly_far_below_the_sky_are_none(sky):
    sky[3, 4] = -1e9
    found = find_blanks(sky, np.isfinite(sky))
    assert found.no_data[3, 4]
    assert found.no_data.sum() == 1


def test_coarsely_quantised_sky_and_small_areas_stay(sky):
    sky = np.round(sky)
    sky[10:13, 10:13] = 100.0
    found = find_blanks(sky, np.isfinite(sky))
    assert not found.no_data.any()
    assert not found.saturated.any()


def test_no_number_at_all():
    nothing = np.full((20, 20), np.nan)
    found = find_blanks(nothing, np.isfinite(nothing))
    assert not found.no_data.any()
    assert found.notes == ()


@pytest.mark.parametrize("quantum", [0.7, 1.0, 1.5, 2.5])
def test_a_sky_quantised_as_coarsely_as_its_noise_stays_and_its_hole_does_not(quantum):
    sky = np.random.default_rng(4).normal(100.0, 1.0, (900, 1000)).astype(np.float32)
    sky = np.round(sky / quantum).astype(np.float32)
    sky[:60, :] = 0.0
    found = find_blanks(sky, np.isfinite(sky))
    assert found.no_data[:60].all()
    assert found.no_data[60:].mean() < 1e-3
    assert not found.saturated.any()
