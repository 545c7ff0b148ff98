"""What one visit-detector costs whole, and how many cores a survey needs.

    python -m tests.benchmarks.sizing measure [--visits N] [--scene NAME]
    python -m tests.benchmarks.sizing simulate --cpu-seconds S [--cores N ...]

`measure` reads a full detector from files, subtracts it with one thread, writes image, preview and
detections, and prints CPU seconds and bytes. `simulate` puts LSSTCam's night in front of workers
of one core each: all detectors of a visit at once, a visit every 37 s, each of its own cost; its
row follows the outcome by the catalog's batch, which is `--row-seconds` more.
"""

import argparse
import heapq
import resource
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from residua.identity import Run
from residua.ports import Observation
from residua.processing import ProcessingContext, process
from residua.simulation.input_files import write_template, write_visit_image
from residua.simulation.sky import DETECTOR_SHAPE, scene, simulate_pair
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.store import ImageFileStore
from residua.subtraction.config import SubtractionConfig

DETECTORS, CADENCE = 189, 37.0


def cpu_seconds() -> float:
    """CPU of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(visits: int, name: str) -> None:
    """Process arrivals one after the other, each with templates that were read before."""
    pair = simulate_pair(replace(scene(name), shape=DETECTOR_SHAPE), seed=9101)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        templates = []
        for n, template in enumerate(pair.templates):
            path = root / f"template_coadd_1_{n}_r.fits"
            write_template(path, template, skymap="s", tract=1, patch=n, band="r")
            templates.append(describe_template(str(path)))
        store = ImageFileStore(
            input_roots=[directory],
            template_roots=[directory],
            output_root=f"{directory}/out",
            threads=1,
            cache_bytes=2**31,
        )
        context = ProcessingContext(Run(SubtractionConfig(), "default", "0.1.0"), threads=1)
        costs, inputs, outputs = [], 0, 0
        for visit in range(visits + 1):
            path = root / f"visit_{visit}.fits"
            observation = Observation("LSSTCam", visit, 1, 20261122, "r", "r_57", "Rubin")
            write_visit_image(path, pair.science, observation)
            arrival = describe_visit_image(str(path))
            begin = cpu_seconds()
            outcome = process(arrival, templates, store, context, 0, lambda _: None)
            costs.append(cpu_seconds() - begin)
            assert outcome.outcome == "created", outcome
            inputs = path.stat().st_size
            outputs = outcome.size_bytes
        made = [p.stat().st_size for p in (root / "out").rglob("*") if p.is_file()]
        total = sum(made) / len(costs)
    print(f"first arrival {costs[0]:.2f} CPU s; then {visits}:", *(f"{c:.2f}" for c in costs[1:]))
    print(f"median {statistics.median(costs[1:]):.2f} CPU s, visit image {inputs / 1e6:.1f} MB,")
    print(f"difference image {outputs / 1e6:.1f} MB; with all beside it {total / 1e6:.1f} MB")


def simulate(cpu: float, cores: int, visits: int = 200, seed: int = 1) -> tuple[float, float]:
    """Return the median and the 95th percentile of seconds from arrival to outcome."""
    rng = np.random.default_rng(seed)
    free = [0.0] * cores
    waits = []
    for visit in range(visits):
        # Crowded and ill-matched detectors take longer: a lognormal of 30 %.
        for cost in cpu * rng.lognormal(-0.5 * 0.3**2, 0.3, DETECTORS):
            arrives = visit * CADENCE + rng.uniform(0.0, 5.0)
            begins = max(arrives, heapq.heappop(free))
            heapq.heappush(free, begins + cost)
            waits.append(begins + cost - arrives)
    return float(np.median(waits)), float(np.percentile(waits, 95))


def main() -> None:
    """Measure or simulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["measure", "simulate"])
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--scene", default="deep")
    parser.add_argument("--cpu-seconds", type=float)
    parser.add_argument(
        "--row-seconds", type=float, default=1.0,
        help="from outcome to row, 95th percentile of residua_latency_seconds of the catalog",
    )  # fmt: skip
    parser.add_argument("--cores", type=int, nargs="+", default=[12, 16, 20, 24, 32])
    given = parser.parse_args()
    if given.what == "measure":
        measure(given.visits, given.scene)
        return
    if given.cpu_seconds is None:
        parser.error("--cpu-seconds: what one detector costs")
    print("| cores | busy | median s to outcome | 95 % s to row | within 60 s |")
    print("| --- | --- | --- | --- | --- |")
    for cores in given.cores:
        median, most = simulate(given.cpu_seconds, cores)
        busy = DETECTORS * given.cpu_seconds / CADENCE / cores
        most += given.row_seconds
        kept = "yes" if most < 60.0 else "no"
        print(f"| {cores} | {100 * busy:.0f} % | {median:.0f} | {most:.0f} | {kept} |")


if __name__ == "__main__":
    main()
