"""Variance planes as cameras make them do not shift or widen the S/N of the empty sky."""

from dataclasses import replace

import pytest

from residua.simulation.fidelity import measure_difference
from residua.simulation.sky import scene
from residua.simulation.trial import run_trial


@pytest.mark.parametrize("seed", [7101, 7102, 7103])
@pytest.mark.parametrize("electrons", [200.0, 2000.0])
def test_noise_in_the_variance_plane_is_not_seen_in_the_sky(electrons, seed):
    def run(*, noisy):
        config = scene("deep", shape=(700, 720), noisy_variance=noisy)
        # All of the sky's noise is that of its electrons.
        config = replace(config, electrons_per_njy=electrons**0.5 / config.sky_noise)
        pair, difference = run_trial(config, seed)
        n, total, square = measure_difference(difference, pair).filtered
        return total / n, (square / n - (total / n) ** 2) ** 0.5

    (mean, width), (exact_mean, exact_width) = run(noisy=True), run(noisy=False)
    assert abs(mean - exact_mean) <= 0.01
    assert width == pytest.approx(exact_width, abs=0.01)
