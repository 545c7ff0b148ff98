"""CPU time and memory of the subtraction, another state of the source beside this one.

    git worktree add /tmp/before 87bfb51
    python -m tests.benchmarks.versions /tmp/before [--scene NAME] [--size NYxNX] [--seed N]
        [--repeats N] [--without-streaks] [--worst]

Both subtract the same pair, alternately, each in a warm process of its own with one thread and the
allocator's settings of the container image. The ratio of the medians counts; seconds are this
machine's. `--without-streaks` leaves the search for trails out of this state; `--worst` also times
the worst scene that we can think of (fringes, a halo, a trail, a comet, a variance wrong by 10)
against the normal one: this state alone, since the other one may never end.
"""

import argparse
import gc
import importlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tests.benchmarks.timing import ALLOCATOR, _peak_memory, _reset_peak_memory

ROOT = Path(__file__).parents[2]


def main():
    arguments = parse()
    from residua.simulation.sky import scene, simulate_pair

    ny, nx = (int(n) for n in arguments.size.split("x"))
    pair = simulate_pair(scene(arguments.scene, (ny, nx)), arguments.seed)
    normal = planes_of(pair)
    here = Process(ROOT, normal, streaks=not arguments.without_streaks)
    there = Process(arguments.before, normal)
    costs = {"before": [], "now": []}
    for _ in range(arguments.repeats):
        costs["before"].append(there.run())
        costs["now"].append(here.run())
    there.end()
    here.end()
    print("| state | median CPU s | least CPU s | GB | ratio of medians |\n|---|---|---|---|---|")
    base = np.median([c for c, _ in costs["before"]])
    for name, rows in costs.items():
        row(name, rows, base)
    if arguments.worst:
        worst = Process(ROOT, spoiled(normal), streaks=True)
        rows = [worst.run() for _ in range(arguments.repeats)]
        print("worst scene:", worst.said)
        worst.end()
        row("worst scene", rows, np.median([c for c, _ in costs["now"]]))


def row(name, rows, base):
    cpu, memory = np.array(rows).T
    middle = np.median(cpu)
    print(f"| {name} | {middle:.2f} | {cpu.min():.2f} | {memory.max():.2f} | {middle / base:.3f} |")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="worktree of the other state")
    parser.add_argument("--scene", default="deep")
    parser.add_argument("--size", default="4072x4000")
    parser.add_argument("--seed", type=int, default=9101)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-streaks", action="store_true")
    parser.add_argument("--worst", action="store_true")
    return parser.parse_args()


def planes_of(pair):
    """Only arrays and WCSs: the other state may know other classes."""
    names = ("image", "variance", "mask", "wcs")
    return [{n: getattr(i, n) for n in names} for i in (pair.science, *pair.templates)]


def spoiled(planes):
    """Everything at once that makes work: every pixel of the sky is a detection."""
    science, *templates = planes
    ny, nx = science["image"].shape
    y, x = np.mgrid[0:ny, 0:nx].astype(np.float32)
    sigma = np.float32(np.sqrt(np.median(science["variance"])))
    image = science["image"].copy()
    image += 0.5 * sigma * np.sin(2.0 * np.pi * (x + 0.3 * y) / 170.0)
    image += 8.0 * sigma * np.exp(-np.hypot(x - 0.3 * nx, y - 0.4 * ny) / (0.06 * nx))
    image += 12.0 * sigma * np.exp(-0.5 * ((0.5 * x - 0.8 * y + 0.1 * ny) / 2.5) ** 2)
    tail = np.clip(x - 0.6 * nx, 0.0, None)
    comet = np.exp(-(((y - 0.7 * ny) / (10.0 + 0.1 * tail)) ** 2) - tail / (0.1 * nx))
    image += 30.0 * sigma * comet * (x > 0.6 * nx)
    science = {**science, "image": image, "variance": science["variance"] * np.float32(0.1)}
    return [science, *({**t, "variance": t["variance"] * np.float32(0.1)} for t in templates)]


class Process:
    """A warm process with one state of the source and its planes in memory."""

    def __init__(self, root, planes, streaks=True):
        paths = [root / "services", root / "schemas", ROOT]
        environment = {
            **os.environ, **ALLOCATOR, "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.benchmarks.versions", "--serve"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        self.said = ""
        self._send((planes, streaks))
        self.run()

    def _send(self, message):
        pickle.dump(message, self.process.stdin, protocol=5)
        self.process.stdin.flush()

    def run(self):
        """CPU seconds and largest resident memory, GB, of one subtraction."""
        self._send("run")
        cpu, memory, self.said = pickle.load(self.process.stdout)
        return cpu, memory

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def serve():
    planes, streaks = pickle.load(sys.stdin.buffer)
    from residua.subtraction.config import SubtractionConfig
    from residua.subtraction.errors import SubtractionError
    from residua.subtraction.images import ScienceImage, TemplateImage

    module = importlib.import_module("residua.subtraction.subtract")
    if not streaks:
        without_streaks()
    science = ScienceImage(**planes[0])
    templates = [TemplateImage(**p) for p in planes[1:]]
    pool, said = module.PlanePool(), ""
    while True:
        try:
            pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        gc.collect()
        _reset_peak_memory()
        before = time.process_time()
        try:
            module.subtract(science, templates, SubtractionConfig(), threads=1, planes=pool)
            said = "created"
        except SubtractionError as e:
            said = f"{type(e).__name__}: {e}"
        cpu = time.process_time() - before
        pickle.dump((cpu, _peak_memory(), said), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def without_streaks():
    """Leave the search for trails out of this state, and only of one that has it."""
    findings = importlib.import_module("residua.subtraction.steps.findings")
    assert callable(findings.find_streaks)
    findings.find_streaks = lambda *_: ()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main()
