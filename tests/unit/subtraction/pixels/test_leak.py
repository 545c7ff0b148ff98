"""The leak mask against a direct convolution with the absolute kernel."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.signal import convolve2d

from residua.subtraction.engine.filter_tables import VaryingKernel, polynomial_tables
from residua.subtraction.images import MatchingKernel, SpatialPolynomial
from residua.subtraction.pixels.leak import mark_leak

SHAPE = (210, 190)


def kernel():
    y, x = np.mgrid[-8:9, -8:9]
    stamp = np.exp(-0.5 * ((x - 1) ** 2 + y**2) / 4.0) - 0.3 * np.exp(-0.5 * (x**2 + y**2) / 9.0)
    constant = SpatialPolynomial(SHAPE, 0)
    return MatchingKernel(stamp[None], np.array([[0.1]]), constant, np.zeros(1), constant)


def applied():
    """The kernel as tables: one vertical function for each of its rows."""
    stamp = kernel().stamp(0, 0)
    return VaryingKernel(polynomial_tables(np.eye(len(stamp)), stamp[None]), kernel().polynomial)


def scene(seed=2):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 3, SHAPE).astype(np.float32)
    flagged = np.zeros(SHAPE, bool)
    flagged[60:66, 0:4] = flagged[100:104, 90:130] = flagged[208:210, 150:155] = True
    image[flagged] = rng.uniform(-500, 3000, flagged.sum())
    return image, flagged, rng.uniform(1, 9, SHAPE).astype(np.float32)


def leak(image, flagged, variance, **options):
    """Mark into a mask that holds another bit already; bool, where the leak's bit is set."""
    mask = np.full(SHAPE, 4, np.int32)
    mark_leak(image, flagged * np.int32(3), 2, applied(), variance, mask, 16, **options)
    assert np.isin(mask, (4, 20)).all()
    return mask == 20


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
    got = leak(image, flagged, variance, convolved=convolved, threads=threads)
    assert 0 < got.sum() < 0.5 * got.size
    # Float32 rounding may tip a pixel that lies on the limit.
    assert np.count_nonzero(got != expected) <= 2


def test_nothing_flagged_masks_nothing():
    image, flagged, variance = scene()
    assert not leak(image, np.zeros_like(flagged), variance).any()


def test_garbage_does_not_spread_but_a_garbage_variance_masks():
    image, flagged, variance = scene()
    image[flagged] = np.nan
    assert not leak(image, flagged, variance).any()
    image[flagged] = 1000.0
    variance[:] = np.nan
    assert leak(image, flagged, variance)[flagged].all()
