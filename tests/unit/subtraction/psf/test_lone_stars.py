"""A star or two among galaxies, in two images of one sky."""

import numpy as np
import pytest

from residua.subtraction.pixels.peaks import find_peaks
from residua.subtraction.psf.adaptive_moments import adaptive_moments, stamp_width
from residua.subtraction.psf.given import ChosenPsf
from residua.subtraction.psf.lone_stars import lone_stars
from residua.subtraction.psf.measure import psf_of_stars
from residua.subtraction.psf.same_stars import with_stars_of
from residua.subtraction.psf.star_locus import PsfStars
from residua.subtraction.psf.stars import FoundStars

SHAPE = (400, 420)
STARS, GALAXIES = [(90, 80), (320, 300)], [(200, 90), (100, 300), (310, 110)]


def frame(star, galaxy, seed):
    """Image of noise 1 with objects of Gaussian widths, and its mask."""
    image = np.random.default_rng(seed).normal(0.0, 1.0, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for places, sigma in ((STARS, star), (GALAXIES, galaxy)):
        for px, py in places:
            image += 400.0 * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / sigma**2)
    return image.astype(np.float32), np.zeros(SHAPE, np.int32)


def objects(image, mask, places):
    x, y = np.array(places).T
    moments = adaptive_moments(image, mask, 1, x, y, binning=1, least_peak=8.0)
    return PsfStars(moments[:, 0], moments[:, 1], moments[:, 2], image[y, x].astype(np.float64))


def test_widths_are_those_of_gaussians():
    found = objects(*frame(1.8, 3.0, 1), STARS + GALAXIES)
    assert found.sigma == pytest.approx([1.8, 1.8, 3.0, 3.0, 3.0], rel=0.02)
    y, x = np.mgrid[-20:21, -20:21]
    assert stamp_width(np.exp(-0.5 * (x**2 + y**2) / 2.5**2)) == pytest.approx(2.5, rel=0.03)
    point = np.zeros((41, 41))
    point[20, 20] = 1.0
    assert np.isnan(stamp_width(point))


def test_what_is_narrow_in_both_images_is_a_star_and_a_hit_is_none():
    found = objects(*frame(1.8, 3.0, 1), STARS + GALAXIES)
    there = objects(*frame(2.0, 3.2, 2), STARS + GALAXIES).sigma
    taken, seen = np.array([False, False, True, True, True]), np.ones(5, np.bool_)
    np.testing.assert_array_equal(lone_stars(found, taken, seen, there), ~taken)
    # Narrow in one image alone, or not seen in the other.
    hits = np.append(3.1 + np.zeros(2), there[2:])
    assert not lone_stars(found, taken, seen, hits).any()
    assert not lone_stars(found, taken, taken, there).any()


def test_one_image_is_told_the_stars_of_the_other():
    image, mask = frame(1.8, 3.0, 3)
    other, _ = frame(2.0, 3.2, 4)
    one = np.ones(SHAPE, np.float32)

    def chosen(plane, places):
        among = FoundStars(objects(plane, mask, places), find_peaks(plane, mask, 1, 6.0, 2))
        found = psf_of_stars(plane, one, mask, among=among)
        return ChosenPsf(found.psf, False, float("nan"), found)

    wrong, right = chosen(image, GALAXIES), chosen(other, STARS)
    assert wrong.psf.fwhm() > 6.5
    assert with_stars_of(wrong, right, image, one, mask).psf.fwhm() == pytest.approx(4.24, rel=0.06)
    assert with_stars_of(right, wrong, other, one, mask) is right
