"""The subtraction is honest on simulated scenes, on seeds that nothing was tuned on.

Small frames, several seeds pooled; `test_full_size.py` does the same on whole detectors.
"""

import pytest

from residua.simulation.sky import SCENES, scene
from residua.simulation.trial import run_trial, run_trials
from residua.subtraction import SubtractionConfig

SEEDS = (7001, 7002, 7003, 7004)
# Three times the usual density of transients: 2 % of those above 7 sigma must be more than one.
TRANSIENTS = 900.0


@pytest.mark.parametrize("name", SCENES)
def test_scene(name):
    fidelity = run_trials(scene(name, transients=TRANSIENTS), SEEDS)
    assert fidelity.pull == pytest.approx(1.0, abs=0.03)
    assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=0.03)
    assert fidelity.lag1 == pytest.approx(0.0, abs=0.01)
    assert fidelity.lag2 == pytest.approx(0.0, abs=0.01)
    assert sum(fidelity.injected[1:]) > 40
    assert fidelity.recovered_above_7 >= 0.98
    assert abs(fidelity.flux_pull_median) < 0.2


@pytest.mark.parametrize("name", SCENES)
def test_default_limits_accept_every_scene(name):
    # Few transients: on a frame of a dozen stars they would be most of the bright pixels.
    _, difference = run_trial(scene(name, transients=100.0), 7050, subtraction=SubtractionConfig())
    assert difference.quality.matched_filter_sn_std == pytest.approx(1.0, abs=0.05)
