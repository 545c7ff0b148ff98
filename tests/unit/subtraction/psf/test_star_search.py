"""Stars are found whatever their number, width and shape, and galaxies are not taken for them."""

import numpy as np
import pytest
from tests.unit.subtraction.star_frames import SHAPES, star_field, star_frame

from residua.subtraction.psf.star_search import select_psf_stars

WIDTHS = (2.4, 3.2, 4.3, 5.6, 7.3, 9.7, 12.4, 14.9)


def found_and_wrong(shape, fwhm, seed, stars, galaxies):
    """Numbers of what is selected, and of what of it is no star."""
    image, places = star_field(shape, fwhm, seed, stars, galaxies)
    found = select_psf_stars(image, np.zeros(image.shape, np.int32), 1.0, 120).stars
    distance = np.hypot(found.x[:, None] - places[:, 0], found.y[:, None] - places[:, 1])
    return len(found), int(np.count_nonzero(distance.min(axis=1) > max(1.0, 0.15 * fwhm)))


@pytest.mark.parametrize("galaxies", [0, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_few_stars_are_found_alone_and_among_galaxies(shape, galaxies):
    # Of fewer rings than seven, round galaxies beside them can be the more credible stars.
    first = 7 if shape == "ring" and galaxies else 3
    for k, stars in enumerate(range(first, 13)):
        fwhm = WIDTHS[k % len(WIDTHS)]
        found, wrong = found_and_wrong(shape, fwhm, 100 * stars + k, stars, galaxies)
        assert wrong == 0, (stars, fwhm)
        assert found >= (3 if shape == "ring" else stars - 2), (stars, fwhm)


@pytest.mark.parametrize(("stars", "fwhm", "seed"), [(9, 5.6, 903), (12, 5.6, 1203)])
def test_many_rings_that_are_narrower_outdo_the_few_galaxies_seen_first(stars, fwhm, seed):
    found, wrong = found_and_wrong("ring", fwhm, seed, stars, 4)
    assert (found, wrong) == (stars, 0)


@pytest.mark.parametrize("fwhm", [3.4, 5.4, 6.2, 8.2, 11.0, 14.0])
def test_rings_that_break_into_peaks_are_found_at_any_width(fwhm):
    image = star_frame("ring", fwhm, seed=round(100 * fwhm))
    found = select_psf_stars(image, np.zeros(image.shape, np.int32), 1.0, 120).stars
    assert len(found) >= 30
    assert np.ptp(found.sigma) < 0.1 * np.median(found.sigma)
