"""Time, CPU, memory and fidelity of the subtraction, with the peers' beside them.

    python -m tests.benchmarks.subtraction [--scene NAME ...] [--seeds N] [--size NYxNX]
        [--json FILE] [--hotpants PATH] [--sfft-python PATH] [--cuphoton-python PATH]
        [--sfft-flavour NAME] [--crop NYxNX] [--transients N] [--repeats N] [--threads N]
        [--no-peers] [--narrow] [--processes N]

Everything runs one after the other on this machine; with `--processes` that many frames at a time,
for fidelity: what they cost then is what a busy machine costs. Figures of fidelity are pooled over
the seeds and, where peers run, taken on the pixels that are good in all tools. The product's time
is that of a warm process with the arrays in memory; the peers' includes their FITS files and, for
Python peers, the start of their interpreter. All peers get the template in one piece (no seam),
warped by SWarp, the true PSF and the true saturation. SFFT needs so much memory that it gets the
centre of the pair (`--crop`); the product is measured on the same crop, in a table of its own.
False positives of the product are its own detections, which know the fit's noise; "plain peaks"
are the peaks of the matched filter, as for the peers.
"""

import argparse
import os
import platform
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import psutil
from tests.benchmarks.frames import Frame, Tally, run_frame, say
from tests.benchmarks.hotpants import MATCHED_KERNEL, NARROW_KERNEL, Hotpants, find_hotpants
from tests.benchmarks.peers import Peer, find_swarp
from tests.benchmarks.python_peers import Driver, Package, find_package
from tests.benchmarks.tables import print_frame, write_json

from residua.simulation.sky import (
    DETECTOR_SHAPE,
    SCENES,
    centre_crop,
    scene,
    simulate_pair,
)

DEFAULT_SCENES = ["deep", "shallow", "crowded", "worse-template"]
DEFAULT_CROP = (2000, 2036)
FIRST_SEED = 9001
SFFT_HALF_WIDTH = 9
"""Twice the science image's FWHM of 4.5 px, which is SFFT's own rule."""


def main():
    arguments = parse()
    tools = find_tools(arguments)
    machine = describe(tools)
    scenes = arguments.scene or DEFAULT_SCENES
    tallies = {}
    with Pool(arguments.processes) if arguments.processes > 1 else nullcontext() as pool:
        # One seed a task: those of all scenes are on their way before the first is waited for.
        pending = [(name, start(pool, name, arguments, tools)) for name in scenes]
        for _, results in pending:
            for label, tally in merge(results).items():
                tallies[label] = tally
                print_frame(label, tally)
            if arguments.json:
                write_json(arguments.json, arguments, machine, described(tools), tallies)


def start(pool, name, arguments, tools):
    """Run the seeds of one scene: an iterable of tallies by frame, in order."""
    last = arguments.first_seed + arguments.seeds
    jobs = [(name, seed, arguments, tools) for seed in range(arguments.first_seed, last)]
    if pool is None:
        return (run_seed(*job) for job in jobs)
    started = [pool.apply_async(run_seed, job) for job in jobs]
    return (result.get() for result in started)


def merge(results):
    """Add up the tallies of several seeds by frame."""
    total = {}
    for tallies in results:
        for label, tally in tallies.items():
            total.setdefault(label, Tally()).add(tally)
    return total


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scene", action="append", choices=sorted(SCENES))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds for each scene")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--size", type=shape, default=DETECTOR_SHAPE, metavar="NYxNX")
    parser.add_argument(
        "--transients", type=float, help="on a full detector; default: the scene's own number"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--hotpants", help="path of the program, if it is not on PATH")
    parser.add_argument(
        "--sfft-python", help="interpreter that imports sfft, if not this one (pip install sfft)"
    )
    parser.add_argument(
        "--cuphoton-python",
        help="interpreter that imports cuphoton, if not this one (pip install cuphoton)",
    )
    parser.add_argument(
        "--crop",
        type=shape,
        default=DEFAULT_CROP,
        metavar="NYxNX",
        help="centre of the pair that SFFT gets (12 GB of memory for the default, 2000x2036)",
    )
    parser.add_argument(
        "--sfft-flavour",
        choices=["crowded", "sparse"],
        default="crowded",
        help="pixels on which SFFT fits: all good ones, or those of good sources",
    )
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--narrow", action="store_true", help="HOTPANTS with its narrow kernel too")
    parser.add_argument("--repeats", type=int, default=3, help="warm calls timed for each seed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--processes", type=int, default=1, help="frames at a time, for fidelity; costs rise"
    )
    return parser.parse_args()


def shape(text):
    """Read NYxNX."""
    ny, nx = (int(v) for v in text.lower().split("x"))
    return ny, nx


def find_tools(arguments):
    """Paths of programs and packages by name; None or a reason where absent."""
    if arguments.no_peers:
        return {}
    return {
        "SWarp": find_swarp(),
        "HOTPANTS": find_hotpants(arguments.hotpants),
        "SFFT": find_package("sfft", arguments.sfft_python),
        "cuPhoton": find_package("cuphoton", arguments.cuphoton_python),
    }


def described(tools):
    """What to say of each tool."""
    words = {}
    for name, tool in tools.items():
        if name in {"SFFT", "cuPhoton"}:
            found = isinstance(tool, Package)
            words[name] = f"{tool.version} ({tool.python})" if found else f"absent ({tool})"
        else:
            words[name] = tool or "absent"
    if tools and not tools["SWarp"]:
        words["SWarp"] = "absent; no peer can run without its warped template"
    return words


def describe(tools):
    """Print the machine and the tools; the machine."""
    load = " ".join(f"{v:.2f}" for v in os.getloadavg())
    machine = (
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {load}, "
        f"Python {platform.python_version()}"
    )
    print(machine)
    for name, words in described(tools).items():
        print(f"{name}: {words}", flush=True)
    return machine


def frames_of(name, arguments, tools):
    """List the full frame with the peers that can take it, and the crop with SFFT, if installed."""
    full, crop = [], []
    # Where the template is the worse one, convolving the science image is the peers' better half.
    convolved = ["t", "i"] if name == "worse-template" else ["t"]
    for convolve in convolved if tools.get("SWarp") else []:
        suffix = " -c i" if convolve == "i" else ""
        if program := tools["HOTPANTS"]:
            full.append(Peer(f"HOTPANTS r15{suffix}", Hotpants(program, MATCHED_KERNEL), convolve))
            if arguments.narrow and convolve == "t":
                full.append(Peer("HOTPANTS r10", Hotpants(program, NARROW_KERNEL)))
        if isinstance(package := tools["cuPhoton"], Package):
            driver = Driver(package.python, "drive_cuphoton.py")
            full.append(Peer(f"cuPhoton{suffix}", driver, convolve))
        if isinstance(package := tools["SFFT"], Package):
            options = (str(SFFT_HALF_WIDTH), str(arguments.threads), arguments.sfft_flavour)
            driver = Driver(package.python, "drive_sfft.py", options)
            crop.append(Peer(f"SFFT {arguments.sfft_flavour}{suffix}", driver, convolve))
    frames = [Frame(name, lambda pair: pair, full)]
    if crop:
        size = tuple(min(a, b) for a, b in zip(arguments.crop, arguments.size, strict=True))
        label = f"{name}, centre crop of {size[0]} x {size[1]}"
        frames.append(Frame(label, partial(centre_crop, shape=size), crop))
    return frames


def run_seed(name, seed, arguments, tools):
    """Run all tools on one seed of one scene: tallies by frame."""
    np.seterr(all="ignore")
    changes = {} if arguments.transients is None else {"transients": arguments.transients}
    config = scene(name, arguments.size, **changes)
    frames = frames_of(name, arguments, tools)
    tallies = {frame.label: Tally() for frame in frames}
    say(f"{name} seed {seed}: simulating")
    pair = simulate_pair(config, seed)
    with_peers = any(frame.peers for frame in frames)
    whole = simulate_pair(replace(config, patches=(1, 1)), seed) if with_peers else None
    for frame in frames:
        run_frame(
            frame,
            seed,
            pair,
            whole,
            tools.get("SWarp"),
            tallies[frame.label],
            repeats=arguments.repeats,
            threads=arguments.threads,
        )
    return tallies


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
