"""What each part of the method is worth: the chain without it, beside the whole chain.

    python -m tests.benchmarks.ablation [--scene NAME ...] [--seeds N] [--first-seed N]
        [--size NYxNX] [--without NAME ...]

Every row takes one part away (docs/concepts/method.md has them all) and measures the same
simulated detectors against their truth. Parts are replaced in this process only; the product has
no such switches.
"""

import argparse
import sys
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np

from residua.simulation.fidelity import measure_difference, pool
from residua.simulation.sky import (
    DETECTOR_SHAPE,
    SCENES,
    scene,
    simulate_pair,
)
from residua.simulation.trial import UNLIMITED
from residua.subtraction.align.warp import warp_templates
from residua.subtraction.detect import source_finding
from residua.subtraction.noise import decorrelate
from residua.subtraction.pixels import difference_mask
from residua.subtraction.steps import passes, white_difference
from residua.subtraction.subtract import subtract

COLUMNS = "without | pull | S | lag-1 | > 7 sigma | FP sky/stars/galaxies | flux pull | masked"


@contextmanager
def whole_chain():
    yield


@contextmanager
def without_zeroing():
    """Masked pixels go through psi as they are."""
    original = decorrelate.apply_psi

    def apply_psi(difference, good, filters, **options):
        return original(difference, np.ones_like(good), filters, **options)

    with mock.patch.object(decorrelate, "apply_psi", apply_psi):
        yield


@contextmanager
def without_warp_power():
    """The warped template's noise taken as white, with the variance it has after the warp."""
    original = warp_templates

    def white(*arguments, **options):
        warped = original(*arguments, **options)
        half = warped.noise_covariance.shape[-1] // 2
        power = warped.noise_covariance[:, half, half]
        covariance = np.zeros_like(warped.noise_covariance)
        covariance[:, half, half] = power
        return replace(warped, noise_covariance=covariance)

    with mock.patch("residua.subtraction.align.coverage.warp_templates", white):
        yield


@contextmanager
def without_leak_mask():
    with mock.patch.object(difference_mask, "mark_leak", return_value=None):
        yield


@contextmanager
def without_fit_variance():
    def none(_fit, _source, x, _y):
        return np.zeros(len(x))

    with mock.patch.object(source_finding, "fit_variance", none):
        yield


@contextmanager
def without_filling():
    with mock.patch.object(passes, "fill_flagged", return_value=None):
        yield


@contextmanager
def without_sky_background():
    def unchanged(_target, _matched, _good, kernel, *_):
        return kernel

    with mock.patch.object(white_difference, "refine_background", unchanged):
        yield


PARTS = {
    "nothing": whole_chain,
    "zeroing before psi": without_zeroing,
    "warp power": without_warp_power,
    "leak mask": without_leak_mask,
    "fit variance": without_fit_variance,
    "in-fill": without_filling,
    "sky background": without_sky_background,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scene", action="append", choices=sorted(SCENES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=9001)
    parser.add_argument("--size", default="x".join(map(str, DETECTOR_SHAPE)), help="NYxNX")
    parser.add_argument("--without", action="append", choices=list(PARTS))
    arguments = parser.parse_args()
    shape = tuple(int(v) for v in arguments.size.lower().split("x"))
    parts = arguments.without or list(PARTS)
    for name in arguments.scene or ["deep", "shallow"]:
        measured = {part: [] for part in parts}
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            pair = simulate_pair(scene(name, shape), seed)
            for part in parts:
                with PARTS[part]():
                    difference = subtract(pair.science, pair.templates, UNLIMITED)
                measured[part].append(measure_difference(difference, pair))
                print(f"{name} seed {seed} without {part}", file=sys.stderr)
        print(f"\n## {name}, {arguments.seeds} seeds from {arguments.first_seed}")
        print(f"\n| {COLUMNS} |\n|" + "---|" * (COLUMNS.count("|") + 1))
        for part, frames in measured.items():
            f = pool(frames)
            print(
                f"| {part} | {f.pull:.4f} | {f.matched_filter_sn_std:.4f} | {f.lag1:.4f} "
                f"| {100 * f.recovered_above_7:.1f} % | {f.false_positives_sky}/"
                f"{f.false_positives_stars}/{f.false_positives_galaxies} "
                f"| {f.flux_pull_median:.3f} | {f.masked_fraction:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
