import numpy as np
import pytest

from residua.subtraction.detect.candidates import find_candidates, peak_offsets
from residua.subtraction.detect.footprints import mark_footprints
from residua.subtraction.detect.matched_filter import matched_filter
from residua.subtraction.images import PsfModel, SpatialPolynomial
from residua.subtraction.masks import MaskBit

SHAPE = (200, 220)
SIGMA = 1.8
FWHM = 2.3548 * SIGMA


def filtered(sources, *, noise=0.0, seed=1):
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    image = np.random.default_rng(seed).normal(0.0, 1.0, SHAPE) * noise
    for px, py, flux in sources:
        r2 = (x - px) ** 2 + (y - py) ** 2
        image += flux / (2 * np.pi * SIGMA**2) * np.exp(-r2 / 2 / SIGMA**2)
    offset = np.arange(-10, 11)
    stamp = np.exp(-(offset**2 + offset[:, None] ** 2) / 2 / SIGMA**2)
    psf = PsfModel((stamp / stamp.sum())[None], SpatialPolynomial(SHAPE, 0))
    good = np.ones(SHAPE, bool)
    result = matched_filter(
        image.astype(np.float32), np.ones(SHAPE, np.float32), good, psf, threads=2
    )
    return result, good


def test_positions_are_found_between_pixels():
    sources = [(60.3, 80.7, 300.0), (150.6, 120.2, -200.0)]
    planes, good = filtered(sources)
    candidates = find_candidates(planes.signal_to_noise, good, 5.0, FWHM, threads=2)
    dx, dy = peak_offsets(candidates, planes.signal_to_noise)
    assert len(candidates) == 2
    for k, (x, y, flux) in enumerate(sources):
        position = candidates.x[k] + dx[k], candidates.y[k] + dy[k]
        assert position == pytest.approx((x, y), abs=0.05)
        assert np.sign(candidates.signal_to_noise[k]) == np.sign(flux)


def test_noise_maxima_on_one_source_are_one_detection():
    planes, good = filtered([(60, 80, 3000.0)], noise=1.0)
    candidates = find_candidates(planes.signal_to_noise, good, 5.0, FWHM)
    near = np.hypot(candidates.x - 60, candidates.y - 80) < 6
    assert near.sum() == 1


def test_peaks_are_not_looked_for_on_masked_pixels():
    planes, good = filtered([(60, 80, 300.0)])
    good[75:86, 55:66] = False
    assert len(find_candidates(planes.signal_to_noise, good, 20.0, FWHM)) == 0


def test_nan_is_no_peak_and_no_obstacle():
    planes, good = filtered([(60, 80, 300.0)])
    planes.signal_to_noise[80, 61] = np.nan
    candidates = find_candidates(planes.signal_to_noise, good, 5.0, FWHM)
    assert candidates.x.tolist() == [60]


def test_footprints_are_set_by_sign_and_only_for_accepted_peaks():
    planes, good = filtered([(60, 80, 300.0), (150, 120, -200.0), (100, 40, 100.0)])
    candidates = find_candidates(planes.signal_to_noise, good, 5.0, FWHM)
    mask = np.zeros(SHAPE, np.int32)
    two = candidates.select(np.arange(2))
    mark_footprints(mask, planes.signal_to_noise, two.x, two.y, 5.0, FWHM)
    assert mask[80, 60] == int(MaskBit.DETECTED)
    assert mask[120, 150] == int(MaskBit.DETECTED_NEGATIVE)
    assert mask[40, 100] == 0
    above = np.abs(planes.signal_to_noise) >= 5.0
    above[20:60] = False
    assert np.all(mask[above] != 0)
    # Grown by the PSF, not by the whole field.
    assert above.sum() < np.count_nonzero(mask) < 8 * above.sum()


def test_threads_do_not_change_the_list():
    planes, good = filtered([], noise=1.0, seed=3)
    one = find_candidates(planes.signal_to_noise, good, 3.0, FWHM, threads=1)
    many = find_candidates(planes.signal_to_noise, good, 3.0, FWHM, threads=3)
    assert len(one) > 5
    assert np.array_equal(one.x, many.x)
    assert np.array_equal(one.y, many.y)
