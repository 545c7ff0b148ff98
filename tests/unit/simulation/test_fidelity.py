"""The measures are right on images whose answer is known, and move when the image is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from residua.simulation.fidelity import measure, pool, usable_pixels
from residua.simulation.sky import SceneConfig, simulate_pair

CONFIG = SceneConfig(
    shape=(900, 800), transients=600.0, negative_fraction=0.0, background=(0, 0, 0)
)


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(CONFIG, 11)


def perfect(pair):
    """Visit minus its own noise-free constant sources: the science image's noise alone."""
    science = pair.science
    good = usable_pixels(science.image, science.variance, science.mask)
    return science.image - pair.noise_free.static, science.variance, good


def test_a_perfect_difference_is_honest(pair):
    image, variance, good = perfect(pair)
    result = pool([measure(image, variance, good, pair.science_psf.model(image.shape), pair)])
    assert result.pull == pytest.approx(1.0, abs=0.01)
    assert result.matched_filter_sn_std == pytest.approx(1.0, abs=0.02)
    assert result.lag1 == pytest.approx(0.0, abs=0.006)
    assert result.lag2 == pytest.approx(0.0, abs=0.006)
    assert result.recovered_above_7 == 1.0
    assert sum(result.injected) > 15
    assert result.false_positives <= 2
    assert abs(result.flux_pull_median) < 0.5
    assert result.transients == sum(result.injected)
    assert abs(result.flux_pull_median) < 4 * result.flux_pull_median_error < 1.5
    # The expected S/N includes the template's noise, which is absent here.
    assert result.sn_ratio == pytest.approx(1.07, abs=0.06)


def test_each_measure_sees_its_fault(pair):
    image, variance, good = perfect(pair)
    psf = pair.science_psf.model(image.shape)

    def judge(image=image, variance=variance):
        return pool([measure(image, variance, good, psf, pair)])

    assert judge(variance=variance * np.float32(0.81)).pull == pytest.approx(1.11, abs=0.01)
    blurred = judge(image=ndimage.gaussian_filter(image, 0.5))
    assert blurred.lag1 > 0.1
    fake = image.copy()
    for x in (200, 333, 400, 600):
        fake[495:506, x - 5 : x + 6] += 3000 * pair.science_psf.stamp(x, 500, 5).astype(np.float32)
    assert judge(image=fake).false_positives >= judge().false_positives + 3
    assert judge(image=image * np.float32(0.8)).flux_pull_median < -1.0
    empty = judge(image=image - (pair.noise_free.science - pair.noise_free.static))
    assert empty.recovered_above_7 < 0.1


def test_frames_pool_by_their_pixels(pair):
    image, variance, good = perfect(pair)
    one = measure(image, variance, good, pair.science_psf.model(image.shape), pair)
    both = pool([one, replace(one, noise=one.noise * np.array([1.0, 1.0, 4.0]))])
    assert both.frames == 2
    assert both.pull == pytest.approx(np.sqrt(2.5) * pool([one]).pull)
    assert both.injected == tuple(2 * n for n in pool([one]).injected)
