"""The same on whole detectors, with the density of the sky unchanged; minutes a scene."""

import pytest

from residua.simulation.sky import DETECTOR_SHAPE, scene
from residua.simulation.trial import run_trials

SEEDS = (8001, 8002)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["deep", "shallow", "crowded", "worse-template"])
def test_detector(name):
    fidelity = run_trials(scene(name, DETECTOR_SHAPE), SEEDS)
    assert fidelity.pull == pytest.approx(1.0, abs=0.01)
    assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=0.01)
    assert fidelity.lag1 == pytest.approx(0.0, abs=0.005)
    assert fidelity.lag2 == pytest.approx(0.0, abs=0.005)
    assert fidelity.recovered_above_7 >= 0.99
    assert abs(fidelity.flux_pull_median) < 0.15
    assert fidelity.flux_pull_scatter == pytest.approx(1.0, abs=0.1)
    assert fidelity.false_positives <= 10 * len(SEEDS)
