"""Subtract many times in one process and watch its memory.

    python -m tests.benchmarks.soak [--calls N] [--size NYxNX]

Prints the resident memory every tenth of the way; exits with 1 if the second half of the run
grew by more than 2 %.
"""

import argparse
import sys
import time

import psutil

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.subtract import subtract


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--size", default="1000x1018", help="NYxNX")
    arguments = parser.parse_args()
    shape = tuple(int(v) for v in arguments.size.lower().split("x"))
    # Several inputs, so that buffers must serve more than one shape of work.
    pairs = [simulate_pair(scene(name, shape), 1) for name in ("deep", "shallow", "rotated")]
    planes = PlanePool()
    process = psutil.Process()
    samples = []
    begin = time.perf_counter()
    for call in range(arguments.calls):
        pair = pairs[call % len(pairs)]
        subtract(pair.science, pair.templates, planes=planes)
        samples.append(process.memory_info().rss / 1e6)
        if (call + 1) % max(1, arguments.calls // 10) == 0:
            print(f"{call + 1} calls, {time.perf_counter() - begin:.0f} s: {samples[-1]:.0f} MB")
    half = len(samples) // 2
    growth = max(samples[-10:]) / max(samples[max(0, half - 10) : half + 1]) - 1.0
    print(f"growth in the second half: {100 * growth:.2f} %")
    sys.exit(growth > 0.02)


if __name__ == "__main__":
    main()
