"""The leak mask against a direct convolution with the absolute kernel."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.signal import convolve2d

from residua.subtraction.images import MatchingKernel, SpatialPolynomial
from residua.subtraction.leak import leak_mask

SHAPE = (210, 190)


def kernel():
    y, x = np.mgrid[-8:9, -8:9]
    stamp = np.exp(-0.5 * ((x - 1) ** 2 + y**2) / 4.0) - 0.3 * np.exp(-0.5 * (x**2 + y**2) / 9.0)
    constant = SpatialPolynomial(SHAPE, 0)
    return MatchingKernel(stamp[None], np.array([[0.1]]), constant, np.zeros(1), constant)


def scene(seed=2):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 3, SHAPE).astype(np.float32)
    flagged = np.zeros(SHAPE, bool)
    flagged[60:66, 0:4] = flagged[100:104, 90:130] = flagged[208:210, 150:155] = True
    image[flagged] = rng.uniform(-500, 3000, flagged.sum())
    return image, flagged, rng.uniform(1, 9, SHAPE).astype(np.float32)


@pytest.mark.parametrize(
    ("convolved", "limit", "growth"), [("template", 0.3, 0), ("science", 0.1, 2)]
)
@pytest.mark.parametrize("threads", [1, 3])
def test_mask_is_where_the_spread_flux_exceeds_the_noise(convolved, limit, growth, threads):
    image, flagged, variance = scene()
    spread = convolve2d(np.where(flagged, np.abs(image), 0.0), np.abs(kernel().stamp(0, 0)), "same")
    expected = spread > limit * np.sqrt(variance)
    if growth:
        expected = binary_dilation(expected, np.ones((2 * growth + 1,) * 2))
    got = leak_mask(image, flagged, kernel(), variance, convolved=convolved, threads=threads)
    assert 0 < got.sum() < 0.5 * got.size
    # Float32 rounding may tip a pixel that lies on the limit.
    assert np.count_nonzero(got != expected) <= 2


def test_nothing_flagged_masks_nothing():
    image, flagged, variance = scene()
    assert not leak_mask(image, np.zeros_like(flagged), kernel(), variance).any()


def test_garbage_does_not_spread_but_a_garbage_variance_masks():
    image, flagged, variance = scene()
    image[flagged] = np.nan
    assert not leak_mask(image, flagged, kernel(), variance).any()
    image[flagged] = 1000.0
    variance[:] = np.nan
    assert leak_mask(image, flagged, kernel(), variance)[flagged].all()
