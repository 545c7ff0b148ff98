"""Run the subtraction on simulated frames and measure it."""

from collections.abc import Iterable

from residua.simulation.fidelity import Fidelity, measure_difference, pool
from residua.simulation.sky import SceneConfig, SimulatedPair, simulate_pair
from residua.subtraction.config import NO_LIMITS, SubtractionConfig
from residua.subtraction.images import DifferenceImage
from residua.subtraction.subtract import subtract

__all__ = ["UNLIMITED", "run_trial", "run_trials"]

UNLIMITED = SubtractionConfig(limits=NO_LIMITS)
"""No limits on the quality record: the truth judges, and dense transients are no fault."""


def run_trial(
    config: SceneConfig,
    seed: int,
    *,
    subtraction: SubtractionConfig | None = None,
    threads: int = 2,
) -> tuple[SimulatedPair, DifferenceImage]:
    """Simulate one frame and subtract it, by default without limits on the quality record."""
    pair = simulate_pair(config, seed)
    return pair, subtract(pair.science, pair.templates, subtraction or UNLIMITED, threads=threads)


def run_trials(
    config: SceneConfig,
    seeds: Iterable[int],
    *,
    subtraction: SubtractionConfig | None = None,
    threads: int = 2,
) -> Fidelity:
    """Simulate, subtract and measure one scene on several seeds, pooled."""
    measurements = []
    for seed in seeds:
        pair, difference = run_trial(config, seed, subtraction=subtraction, threads=threads)
        measurements.append(measure_difference(difference, pair))
    return pool(measurements)
