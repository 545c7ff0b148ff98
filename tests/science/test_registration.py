"""A displacement that no WCS knows is found and undone: scene b of the unusual skies."""

import numpy as np
import pytest

from residua.simulation.fidelity import measure_difference, pool
from residua.simulation.sky import scene
from residua.simulation.trial import run_trial

QUARTER = (2000, 2036)
LARGE_SEEDS = (7211, 7212, 7213)


def displaced(rms, seeds, shape):
    measured, records = [], []
    for seed in seeds:
        pair, difference = run_trial(scene("deep", shape, turbulence=(rms, 1200.0)), seed)
        measured.append(measure_difference(difference, pair))
        records.append(difference.quality)
    return pool(measured), records


def check(fidelity, records, rms):
    assert fidelity.pull_by_brightness[2] <= 1.10
    assert fidelity.matched_filter_sn_std == pytest.approx(1.0, abs=0.02)
    assert fidelity.recovered_above_7 >= 0.98
    for record in records:
        # Two sine waves along each axis.
        assert record.registration_rms == pytest.approx(rms * np.sqrt(2.0), rel=0.35)
        assert record.registration_stars > 0.8 * record.registration_stars_offered


@pytest.mark.parametrize("rms", [0.05, 0.2])
def test_turbulence_is_undone(rms):
    seeds = (7201, 7202, 7203)
    fidelity, records = displaced(rms, seeds, (1000, 1018))
    check(fidelity, records, rms)
    assert fidelity.false_positives <= 2


@pytest.fixture(scope="module")
def undisturbed():
    return displaced(0.0, LARGE_SEEDS, QUARTER)[0]


@pytest.mark.slow
@pytest.mark.parametrize("rms", [0.05, 0.1, 0.2])
def test_turbulence_is_undone_on_larger_frames(rms, undisturbed):
    fidelity, records = displaced(rms, LARGE_SEEDS, QUARTER)
    check(fidelity, records, rms)
    # Noise alone passes five sigma a few times a detector: of the same noise, no more pass.
    assert fidelity.false_positives <= undisturbed.false_positives + 1


def test_nothing_is_moved_where_both_wcs_agree():
    _, records = displaced(0.0, (7221, 7222), (1000, 1018))
    for record in records:
        assert record.registration_rms <= 0.015
        assert record.registration_stars_offered > 50
