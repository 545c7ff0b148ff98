"""Run the subtraction on simulated frames and measure it."""

from collections.abc import Iterable

from residua.subtraction import subtract
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.images import DifferenceImage
from residua.testing.fidelity import Fidelity, measure_difference, pool
from residua.testing.sky import SceneConfig, SimulatedPair, simulate_pair

__all__ = ["run_trial", "run_trials"]


def run_trial(
    config: SceneConfig,
    seed: int,
    *,
    subtraction: SubtractionConfig | None = None,
    threads: int = 2,
) -> tuple[SimulatedPair, DifferenceImage]:
    """Simulate one frame and subtract it."""
    pair = simulate_pair(config, seed)
    chosen = subtraction or SubtractionConfig()
    return pair, subtract(pair.science, pair.templates, chosen, threads=threads)


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
