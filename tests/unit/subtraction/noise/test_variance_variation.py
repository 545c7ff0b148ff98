"""The smooth part of a variance plane's error."""

import numpy as np
import pytest

from residua.subtraction.noise.variance_variation import measure_variation

SHAPE = (1000, 1200)


def blocks(n, amplitude, seed=3):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.0, 1.0, (n, 2)) * SHAPE
    surface = amplitude * (2.0 * centres[:, 1] / SHAPE[1] - 1.0)
    factors = np.exp(surface) * 1.2 * (1.0 + 0.05 * rng.standard_normal(n))
    factors[::20] *= 3.0  # blocks with a source
    return factors, centres


@pytest.mark.parametrize(("n", "order"), [(600, 2), (150, 1)])
def test_a_slope_is_found_whatever_its_mean(n, order):
    found = measure_variation(*blocks(n, 0.3), SHAPE)
    assert found.order == order
    assert found.significant
    assert found.rms == pytest.approx(0.5 * 0.3 / 3**0.5, rel=0.15)
    at_nodes = found.at_nodes(SHAPE)
    assert at_nodes.max() / at_nodes.min() == pytest.approx(np.exp(0.6), rel=0.05)
    assert np.mean(np.log(at_nodes)) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(("n", "amplitude"), [(600, 0.0), (150, 0.0), (90, 0.3), (600, 0.02)])
def test_what_is_not_there_or_not_known_changes_nothing(n, amplitude):
    assert not measure_variation(*blocks(n, amplitude), SHAPE).significant
