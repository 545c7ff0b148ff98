"""What a kept solution weighs, and what an image or a stamp of it costs.

    python -m tests.benchmarks.solutions [--scene NAME ...] [--size NYxNX] [--stamps N]

CPU time of one thread, arrays in memory, everything compiled: `solve` with its image (what
`subtract` does), `apply` of the whole, and `apply` of boxes of 51 and 256 px at random places,
those with flagged pixels to fill nearby apart. Every box is compared with the whole, bit for bit.
"""

import argparse
import time
from unittest import mock

import numpy as np
from tests.benchmarks.subtraction import shape

from residua.simulation.sky import DETECTOR_SHAPE, SCENES, scene, simulate_pair
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.solve import solve_and_apply
from residua.subtraction.steps import apply as applying
from residua.subtraction.steps.apply import apply

PLANES = ("image", "variance", "mask", "matched_template")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scene", action="append", choices=sorted(SCENES))
    parser.add_argument("--size", type=shape, default=DETECTOR_SHAPE, metavar="NYxNX")
    parser.add_argument("--stamps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    for name in arguments.scene or ["deep", "worse-template"]:
        measure(name, arguments)


def measure(name, arguments):
    pair = simulate_pair(scene(name, arguments.size), arguments.seed)
    inputs = (pair.science, pair.templates)
    pool, again = PlanePool(), PlanePool()
    solve_and_apply(*inputs, threads=1, planes=pool)
    (solution, whole), solved = timed(solve_and_apply, *inputs, threads=1, planes=pool)
    data, written = timed(write_solution, solution)
    solution, read = timed(read_solution, data)
    apply(solution, *inputs, threads=1, planes=again)
    made, applied = timed(apply, solution, *inputs, threads=1, planes=again)
    equal = all(same(getattr(made, n), getattr(whole, n)) for n in PLANES)
    print(
        f"{name} {arguments.size}: {whole.convolved} convolved, {len(solution.templates)} patches, "
        f"{len(solution.detections)} detections\n"
        f"  solution {len(data) / 1e6:.3f} MB; write {written * 1e3:.0f} ms, read "
        f"{read * 1e3:.0f} ms\n"
        f"  solve and apply {solved:.2f} CPU s, apply {applied:.2f} CPU s, equal: {equal}",
        flush=True,
    )
    rng = np.random.default_rng(1)
    for side in (51, 256):
        times = {"nothing to fill": [], "flagged near": []}
        equal = 0
        for k in range(arguments.stamps + 2):
            y, x = (int(rng.integers(0, n - side + 1)) for n in arguments.size)
            box = np.s_[y : y + side, x : x + side]
            with mock.patch.object(applying, "cut", wraps=applying.cut) as cut:
                stamp, seconds = timed(apply, solution, *inputs, box=box, threads=1)
            equal += all(same(getattr(stamp, n), getattr(whole, n)[box]) for n in PLANES)
            if k >= 2:
                times["flagged near" if cut.called else "nothing to fill"].append(seconds)
        said = ", ".join(
            f"{what} {np.median(t) * 1e3:.1f} ms ({len(t)})" for what, t in times.items() if t
        )
        print(f"  {side} px: {said}; equal {equal} of {arguments.stamps + 2}", flush=True)


def same(one, other):
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def timed(function, *arguments, **options):
    start = time.process_time()
    result = function(*arguments, **options)
    return result, time.process_time() - start


if __name__ == "__main__":
    main()
