import numpy as np
from tests.unit.subtraction.star_fields import field

from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.match.kernel_stars import select_kernel_stars


def select(image, variance, mask, **changes):
    arguments = {"stamp_half_width": 19, "kernel_half_width": 10} | changes
    return select_kernel_stars(image, variance, image, variance, mask, int(UNUSABLE), **arguments)


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
