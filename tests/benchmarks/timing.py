"""Time the subtraction in a process of its own, with its arrays in memory."""

import gc
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "16777216",
}
"""As the container image sets it."""


@dataclass(frozen=True)
class Cost:
    """Seconds and gigabytes of one run; medians where there were several."""

    wall: float
    cpu: float
    memory: float
    first_call: float = float("nan")

    @classmethod
    def median(cls, costs):
        costs = list(costs)
        return cls(
            *(float(np.median([getattr(c, f) for c in costs])) for f in cls.__dataclass_fields__)
        )


def run_program(arguments, log):
    """Run a program to its end; its wall and CPU seconds and its largest resident memory."""
    before = time.perf_counter()
    with log.open("ab") as sink:
        process = psutil.Popen(arguments, stdout=sink, stderr=subprocess.STDOUT)
        peak, cpu = 0, 0.0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
                times = process.cpu_times()
                cpu = times.user + times.system
            except psutil.Error:
                break
            time.sleep(0.01)
    wall = time.perf_counter() - before
    if process.wait() != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{arguments[0]} failed (exit code {process.returncode}): {last[0]}")
    return Cost(wall, cpu, peak / 1e9)


def time_subtraction(pair, directory, *, repeats, threads):
    """Subtract in a fresh process: once cold, then `repeats` times.

    Returns the cost, the difference image (made without limits on its quality) and why the
    default limits reject it, or None.
    """
    inputs, outputs = directory / "inputs.pickle", directory / "outputs.pickle"
    inputs.write_bytes(pickle.dumps((pair.science, pair.templates), protocol=5))
    command = [sys.executable, "-m", "tests.benchmarks.timing", str(inputs), str(outputs)]
    command += [str(repeats), str(threads)]
    subprocess.run(command, check=True, env={**os.environ, **ALLOCATOR}, cwd=ROOT)
    difference, costs, rejected = pickle.loads(outputs.read_bytes())
    inputs.unlink()
    outputs.unlink()
    return Cost.median(costs), difference, rejected


def _peak_memory():
    """Largest resident memory since the last reset, GB; NaN where the kernel does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
    return float(line.split()[1]) * 1024 / 1e9


def _reset_peak_memory():
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def _main(inputs, outputs, repeats, threads):
    science, templates = pickle.loads(Path(inputs).read_bytes())
    before = time.perf_counter()
    from residua.subtraction import (
        BadSubtractionError,
        SubtractionConfig,
    )
    from residua.subtraction.config import NO_LIMITS
    from residua.subtraction.engine.buffers import PlanePool
    from residua.subtraction.subtract import subtract

    # As in a worker's process.
    planes = PlanePool()
    unlimited = SubtractionConfig(limits=NO_LIMITS)
    rejected = None
    try:
        subtract(science, templates, threads=int(threads), planes=planes)
    except BadSubtractionError as error:
        rejected = str(error)
    first_call = time.perf_counter() - before
    costs = []
    for _ in range(int(repeats)):
        difference = None
        gc.collect()
        _reset_peak_memory()
        wall, cpu = time.perf_counter(), time.process_time()
        difference = subtract(science, templates, unlimited, threads=int(threads), planes=planes)
        costs.append(
            Cost(
                time.perf_counter() - wall,
                time.process_time() - cpu,
                _peak_memory(),
                first_call,
            )
        )
    Path(outputs).write_bytes(pickle.dumps((difference, costs, rejected), protocol=5))


if __name__ == "__main__":
    # Pickle must name this module, not __main__.
    from tests.benchmarks import timing

    timing._main(*sys.argv[1:])
