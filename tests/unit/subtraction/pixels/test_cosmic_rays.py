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
