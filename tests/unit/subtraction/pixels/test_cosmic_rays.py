"""Cosmic rays are found, and stars are none."""

import numpy as np
import pytest
from tests.science.odd_sky import Night, gaussian, observe, trail

from residua.subtraction.masks import MaskBit
from residua.subtraction.pixels.cosmic_rays import (
    hits_in_both,
    mark_cosmic_rays,
    neighbour_ratio,
    sharpness_limit,
)
from residua.subtraction.psf.measure import measure_psf

HIT = int(MaskBit.COSMIC_RAY)


def measured(night, seed):
    image = observe(night, seed).science
    psf, _ = measure_psf(image.image, image.variance, image.mask)
    return image, psf


@pytest.mark.parametrize(
    "profile", [gaussian(2.6), gaussian(4.5), gaussian(9.0), trail(3.5, 6.0, 0.7)]
)
def test_stars_galaxies_and_noise_are_no_hits(profile):
    image, psf = measured(Night(shape=(700, 720), stars=200, science=profile), 3)
    mask = image.mask.copy()
    assert mark_cosmic_rays(image.image, image.variance, sharpness_limit(psf), (mask,)) == 0


def test_hits_of_one_pixel_and_tracks_are_found():
    image, psf = measured(Night(shape=(600, 620), stars=150), 4)
    pixels = image.image.copy()
    rng = np.random.default_rng(2)
    hit = np.zeros(pixels.shape, np.bool_)
    for _ in range(40):
        y, x = rng.integers(20, 580), rng.integers(20, 600)
        hit[y, x] = True
    for _ in range(10):
        y, x = rng.integers(40, 560, 2)
        angle = rng.uniform(0, np.pi)
        for t in np.arange(0.0, 12.0, 0.5):
            hit[int(y + t * np.sin(angle)), int(x + t * np.cos(angle))] = True
    pixels[hit] += 60.0 * 17.0
    first, second = image.mask.copy(), image.mask.copy()
    mark_cosmic_rays(pixels, image.variance, sharpness_limit(psf), (first, second))
    found = (first & HIT) != 0
    assert np.mean(found[hit]) > 0.85
    assert np.count_nonzero(found & ~hit) <= 3
    np.testing.assert_array_equal(first, second)


def test_coarsely_sampled_stars_are_left_alone():
    image, psf = measured(Night(shape=(500, 520), stars=200, science=gaussian(1.7)), 5)
    assert neighbour_ratio(psf) < 0.6
    mask = image.mask.copy()
    assert mark_cosmic_rays(image.image, image.variance, sharpness_limit(psf), (mask,)) == 0


def test_hits_of_both_images_are_counted():
    one, other = np.zeros((200, 90), np.int32), np.zeros((200, 90), np.int32)
    one[::7, 3], other[::5, 3] = HIT, HIT | 1
    other[10, 50] = HIT
    assert hits_in_both(one, other) == len(range(0, 200, 35))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_piece_that_is_passed_over_holds_no_hit(seed):
    """Pixel by pixel the same are found: on noise, stars, flags and what is no number."""
    rng = np.random.default_rng(seed)
    shape = (40, 210)
    image = rng.normal(0.0, 12.0, shape).astype(np.float32)
    image[20:30, 60:140] += 300.0
    mask = np.where(rng.random(shape) < 0.01, np.int32(MaskBit.BAD), np.int32(0)).astype(np.int32)
    image[(mask != 0) & (rng.random(shape) < 0.5)] = np.nan
    variance = np.full(shape, 9.0, np.float32)
    part = np.float32(0.4)
    expected = np.zeros(shape, np.bool_)
    for y in range(1, shape[0] - 1):
        for x in range(1, shape[1] - 1):
            p = image[y, x]
            if mask[y, x] or not (p > 0 and p * p > 64 * variance[y, x]):
                continue
            for b, a in ((0, 1), (1, 0)):
                pair = [(y - b, x - a), (y + b, x + a)]
                if not any(mask[place] for place in pair):
                    gap = part * p - np.mean([image[place] for place in pair], dtype=np.float32)
                    error2 = part**2 * 9.0 + 18.0 / 4.0
                    expected[y, x] |= gap > 0 and gap**2 > 25.0 * error2
    first = mask.copy()
    mark_cosmic_rays(image, variance, float(part), (first,))
    found = (first & HIT) != 0
    assert expected.sum() > 20
    # What is beside a hit is judged by lower limits, and may be found as well.
    near = np.zeros(shape, np.bool_)
    for b, a in ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 2), (0, -2), (2, 0), (-2, 0),
                 (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 0)):  # fmt: skip
        near |= np.roll(expected, (b, a), axis=(0, 1))
    assert found[expected].all()
    assert not (found & ~near).any()
