"""Footprints: the regions that a brute-force labelling finds, at a cost that no content raises."""

import numpy as np
import pytest
from scipy import ndimage

from residua.subtraction.detect.candidates import find_candidates
from residua.subtraction.detect.footprints import mark_footprints
from residua.subtraction.masks import MaskBit

FWHM = 3.0
RADIUS = 3
BITS = {1: int(MaskBit.DETECTED), -1: int(MaskBit.DETECTED_NEGATIVE)}


def brute_force(sn, x, y, threshold):
    offset = np.arange(-RADIUS, RADIUS + 1)
    disc = offset**2 + offset[:, None] ** 2 <= RADIUS**2
    mask = np.zeros(sn.shape, np.int32)
    for sign, bit in BITS.items():
        labels, _ = ndimage.label(sign * sn >= threshold, np.ones((3, 3)))
        wanted = np.unique(labels[y, x][sign * sn[y, x] > 0])
        inside = np.isin(labels, wanted[wanted > 0])
        mask[ndimage.binary_dilation(inside, disc)] |= bit
    return mask


@pytest.mark.parametrize("seed", range(8))
def test_regions_are_those_of_a_brute_force_labelling(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(5, 90)), int(rng.integers(60, 200)))
    smooth = ndimage.gaussian_filter(rng.normal(0.0, 1.0, shape), rng.uniform(0.4, 2.5))
    sn = (smooth / smooth.std() * rng.uniform(1.0, 4.0)).astype(np.float32)
    sn[rng.random(shape) < 0.02] = np.nan
    y, x = np.nonzero(np.abs(sn) >= 2.0)
    chosen = rng.random(x.size) < 0.3
    x, y = x[chosen], y[chosen]
    mask = np.zeros(shape, np.int32)
    mark_footprints(mask, sn, x, y, 2.0, FWHM)
    np.testing.assert_array_equal(mask, brute_force(sn, x, y, 2.0))


def test_number_of_peaks_does_not_raise_the_cost():
    sn = np.full((300, 400), 20.0, np.float32)
    y, x = (c.ravel() for c in np.mgrid[0:300:2, 0:400:2])
    one, all_ = np.zeros(sn.shape, np.int32), np.zeros(sn.shape, np.int32)
    cost = mark_footprints(one, sn, x[:1], y[:1], 5.0, FWHM)
    assert mark_footprints(all_, sn, x, y, 5.0, FWHM) == cost
    assert cost <= (2 * RADIUS + 1) * sn.size
    np.testing.assert_array_equal(one, all_)


@pytest.mark.parametrize("content", ["checkerboard", "noise", "trail", "ghost", "nothing"])
def test_cost_is_bounded_by_pixels(content):
    ny, nx = shape = (400, 420)
    y, x = np.mgrid[0:ny, 0:nx]
    rng = np.random.default_rng(5)
    beyond = {
        "checkerboard": (x + y) % 2 == 0,
        "noise": rng.random(shape) < 0.4,
        "trail": np.abs(x - y) < 3,
        "ghost": (x - 200) ** 2 + (y - 200) ** 2 < 150**2,
        "nothing": x < 0,
    }[content]
    sn = np.where(beyond, 9.0, 0.0).astype(np.float32) * rng.choice([-1, 1], shape)
    sn = sn.astype(np.float32)
    good = np.ones(shape, np.bool_)
    candidates = find_candidates(sn, good, 5.0, FWHM)
    mask = np.zeros(shape, np.int32)
    cost = mark_footprints(mask, sn, candidates.x, candidates.y, 5.0, FWHM)
    # Every run of r pixels is written 2 r + 1 times, with its margin: single pixels cost most.
    assert cost <= (2 * RADIUS + 1) ** 2 * np.count_nonzero(beyond)
    assert (cost == 0) == (content == "nothing")


def test_peaks_are_thinned_like_one_by_one():
    rng = np.random.default_rng(11)
    sn = (rng.normal(0.0, 4.0, (150, 170))).astype(np.float32)
    found = find_candidates(sn, np.ones(sn.shape, np.bool_), 5.0, 6.0)
    every = find_candidates(sn, np.ones(sn.shape, np.bool_), 5.0, 1e-3)
    kept: list[int] = []
    for k in range(len(every)):
        near = [
            (every.x[j] - every.x[k]) ** 2 + (every.y[j] - every.y[k]) ** 2 < 4.5**2
            and every.signal_to_noise[j] * every.signal_to_noise[k] > 0
            for j in kept
        ]
        if not any(near):
            kept.append(k)
    assert len(kept) > 100
    np.testing.assert_array_equal(found.x, every.x[kept])
    np.testing.assert_array_equal(found.y, every.y[kept])
