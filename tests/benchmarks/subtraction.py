"""Time, CPU, memory and fidelity of the subtraction, with the peers' beside them.

    python tests/benchmarks/subtraction.py [--scene NAME ...] [--seeds N] [--size NYxNX]
        [--json FILE] [--hotpants PATH] [--repeats N] [--threads N] [--no-peers] [--narrow]

Everything runs one after the other on this machine. Figures of fidelity are pooled over the
seeds and, where peers run, taken on the pixels that are good in all tools. The product's time is
that of a warm process with the arrays in memory; the peers' includes their FITS files.
HOTPANTS gets the template in one piece (no seam), the true PSF and the true saturation.
False positives of the product are its own detections, which know the fit's noise; "plain peaks"
are the peaks of the matched filter, as for the peers.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
from peers import MATCHED_KERNEL, NARROW_KERNEL, find_programs, subtract_with_hotpants
from timing import Cost, time_subtraction

from residua.testing.fidelity import measure, measure_difference, pool, usable_pixels
from residua.testing.sky import DETECTOR_SHAPE, SCENES, scene, simulate_pair

DEFAULT_SCENES = ["deep", "shallow", "crowded", "worse-template"]
FIRST_SEED = 9001


def main():
    arguments = parse()
    programs = {} if arguments.no_peers else find_programs(arguments.hotpants)
    describe(programs)
    results = {}
    for name in arguments.scene or DEFAULT_SCENES:
        results[name] = run_scene(name, arguments, programs)
        print_scene(name, results[name])
        if arguments.json:
            write_json(arguments, results)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scene", action="append", choices=sorted(SCENES))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds for each scene")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--size", default="x".join(map(str, DETECTOR_SHAPE)), help="NYxNX")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--hotpants", help="path of the program, if it is not on PATH")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--narrow", action="store_true", help="HOTPANTS with its narrow kernel too")
    parser.add_argument("--repeats", type=int, default=3, help="warm calls timed for each seed")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def describe(programs):
    load = " ".join(f"{v:.2f}" for v in os.getloadavg())
    print(
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {load}, "
        f"Python {platform.python_version()}"
    )
    for name, path in programs.items():
        print(f"{name}: {path or 'absent'}")
    print(f"SFFT: {'installed, not driven here' if importlib.util.find_spec('sfft') else 'absent'}")
    print(f"cuPhoton: {'installed, not driven here' if shutil.which('cuphoton') else 'absent'}")


def run_scene(name, arguments, programs):
    """Run all tools on all seeds of one scene; pooled fidelity and median cost by tool."""
    shape = tuple(int(v) for v in arguments.size.lower().split("x"))
    runs = peer_runs(name, arguments) if all(programs.values()) and programs else {}
    costs = {"residua": []} | {run: [] for run in runs} | ({"SWarp": []} if runs else {})
    plain, rejections = [], []
    own, common = [], {"residua": []} | {run: [] for run in runs}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        pair = simulate_pair(scene(name, shape), seed)
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            cost, difference, rejected = time_subtraction(
                pair, directory, repeats=arguments.repeats, threads=arguments.threads
            )
            costs["residua"].append(cost)
            if rejected:
                rejections.append(f"seed {seed}: {rejected}")
            own.append(measure_difference(difference, pair))
            good = usable_pixels(difference.image, difference.variance, difference.mask)
            planes = (difference.image, difference.variance, good.copy(), difference.psf)
            plain.append(measure(*planes, pair))
            made = {}
            if runs:
                whole = simulate_pair(replace(scene(name, shape), patches=(1, 1)), seed)
                for run, options in runs.items():
                    spent, made[run] = subtract_with_hotpants(whole, programs, directory, **options)
                    costs[run].append(spent["total"])
                    costs["SWarp"].append(spent["SWarp"])
                    good &= made[run].good
                common["residua"].append(measure_difference(difference, pair, exclude=~good))
            for run, result in made.items():
                common[run].append(measure(result.image, result.variance, good, result.psf, pair))
        print(f"{name} seed {seed}: {cost.wall:.2f} s wall, {cost.cpu:.2f} s CPU", file=sys.stderr)
    fidelity = {"residua (own mask)": pool(own), "residua (own mask, plain peaks)": pool(plain)}
    fidelity |= {tool: pool(values) for tool, values in common.items() if values}
    return {
        "cost": {tool: Cost.median(values) for tool, values in costs.items()},
        "cost_samples": costs,
        "fidelity": fidelity,
        "rejections": rejections,
    }


def peer_runs(name, arguments):
    runs = {"HOTPANTS r15": {"kernel": MATCHED_KERNEL}}
    if arguments.narrow:
        runs["HOTPANTS r10"] = {"kernel": NARROW_KERNEL}
    if name == "worse-template":
        runs["HOTPANTS r15 -c i"] = {"kernel": MATCHED_KERNEL, "convolve": "i"}
    return runs


def print_scene(name, result):
    print(f"\n## {name}")
    print(
        "\n| tool | wall s | CPU s | GB | first call s | wall ratio | CPU ratio |\n|" + "---|" * 7
    )
    ours = result["cost"]["residua"]
    for tool, cost in result["cost"].items():
        label = f"SWarp + {tool}" if tool.startswith("HOTPANTS") else tool
        print(
            f"| {label} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.2f} "
            f"| {cost.first_call:.1f} | {cost.wall / ours.wall:.1f} | {cost.cpu / ours.cpu:.1f} |"
        )
    columns = (
        "tool | pull | S | lag-1 | lag-2 | > 7 sigma | by S/N 5-7, -10, -20, more "
        "| FP sky/stars/galaxies | flux pull | scatter | S/N ratio | pull by brightness | masked"
    )
    print(f"\n| {columns} |\n|" + "---|" * 13)
    for tool, f in result["fidelity"].items():
        bins = " ".join(f"{r}/{n}" for r, n in zip(f.recovered, f.injected, strict=True))
        bright = " ".join(f"{v:.2f}" for v in f.pull_by_brightness)
        print(
            f"| {tool} | {f.pull:.4f} | {f.matched_filter_sn_std:.4f} "
            f"| {f.lag1:.4f} | {f.lag2:.4f} "
            f"| {100 * f.recovered_above_7:.1f} % | {bins} "
            f"| {f.false_positives_sky}/{f.false_positives_stars}/{f.false_positives_galaxies} "
            f"| {f.flux_pull_median:.3f} | {f.flux_pull_scatter:.3f} | {f.sn_ratio:.3f} | {bright} "
            f"| {f.masked_fraction:.4f} |"
        )
    for rejection in result["rejections"]:
        print(f"\nBeyond the default limits: {rejection}")
    sys.stdout.flush()


def write_json(arguments, results):
    record = {
        "size": arguments.size,
        "seeds": arguments.seeds,
        "first_seed": arguments.first_seed,
        "threads": arguments.threads,
        "scenes": {
            name: {
                "cost": {tool: asdict(cost) for tool, cost in result["cost"].items()},
                "fidelity": {tool: asdict(value) for tool, value in result["fidelity"].items()},
                "rejections": result["rejections"],
            }
            for name, result in results.items()
        },
    }
    arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
