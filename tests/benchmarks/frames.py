"""Run the product and its peers on frames of simulated pairs, and add up what they did."""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.peers import Peer, subtract_with, warp
from tests.benchmarks.timing import Cost, time_subtraction

from residua.simulation.fidelity import (
    Fidelity,
    measure,
    measure_difference,
    pool,
    usable_pixels,
)
from residua.simulation.sky import SimulatedPair

OWN, PLAIN = "residua (own mask)", "residua (own mask, plain peaks)"


@dataclass(frozen=True)
class Frame:
    """What of a pair is subtracted, by whom.

    Parameters
    ----------
    label
        As in the headings.
    cut
        Makes the frame out of a full pair.
    peers
        The tools that run beside the product.
    """

    label: str
    cut: Callable[[SimulatedPair], SimulatedPair]
    peers: list[Peer]


@dataclass
class Tally:
    """What the tools spent and measured on one frame, over the seeds."""

    costs: dict[str, list[Cost]] = field(default_factory=dict)
    measured: dict[str, list] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add_cost(self, tool, cost):
        self.costs.setdefault(tool, []).append(cost)

    def add_measurement(self, tool, measurement):
        self.measured.setdefault(tool, []).append(measurement)

    def add(self, other):
        """Add what another seed gave."""
        for mine, theirs in ((self.costs, other.costs), (self.measured, other.measured)):
            for tool, values in theirs.items():
                mine.setdefault(tool, []).extend(values)
        self.load += other.load
        self.rejections += other.rejections
        self.failures += other.failures

    def cost(self) -> dict[str, Cost]:
        """Medians."""
        return {tool: Cost.median(values) for tool, values in self.costs.items()}

    def fidelity(self) -> dict[str, Fidelity]:
        """Figures pooled over the seeds."""
        return {tool: pool(values) for tool, values in self.measured.items()}


def run_frame(frame, seed, pair, whole, swarp, tally, *, repeats, threads):
    """Subtract one frame with all tools.

    A peer that fails is recorded with its error and takes no part in the comparison of this
    seed. Peers are compared on the pixels that are good in all tools that succeeded.

    Parameters
    ----------
    frame, seed, pair
        What to run on.
    whole
        The pair with its template in one piece, for the peers; None if there are none.
    swarp
        Path of the program.
    tally
        Where results go.
    repeats, threads
        See `time_subtraction`.
    """
    pair = frame.cut(pair)
    load = os.getloadavg()[0]
    tally.load.append(load)
    say(f"{frame.label} seed {seed}: load average {load:.2f} before the timing")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        cost, difference, rejected = time_subtraction(
            pair, directory, repeats=repeats, threads=threads
        )
        record(tally, frame, seed, "residua", cost)
        if rejected:
            tally.rejections.append(f"seed {seed}: {rejected}")
        made = {}
        if frame.peers:
            made = run_peers(frame, seed, frame.cut(whole), swarp, tally, directory)
    good = usable_pixels(difference.image, difference.variance, difference.mask)
    tally.add_measurement(OWN, measure_difference(difference, pair))
    planes = (difference.image, difference.variance, good.copy(), difference.psf)
    tally.add_measurement(PLAIN, measure(*planes, pair))
    if not made:
        return
    for result in made.values():
        good &= result.good
    tally.add_measurement("residua", measure_difference(difference, pair, exclude=~good))
    for name, result in made.items():
        planes = (result.image, result.variance, good, result.psf)
        tally.add_measurement(name, measure(*planes, pair))


def run_peers(frame, seed, whole, swarp, tally, directory):
    """Warp once, run every peer: the differences by name."""
    made = {}
    try:
        warped = warp(whole, swarp, directory)
    except RuntimeError as error:
        fail(tally, frame, seed, "SWarp", error)
        return made
    record(tally, frame, seed, "SWarp", warped)
    for peer in frame.peers:
        try:
            spent, made[peer.name] = subtract_with(peer, whole, warped, directory)
        except (RuntimeError, OSError, ValueError) as error:
            fail(tally, frame, seed, peer.name, error)
            continue
        record(tally, frame, seed, f"SWarp + {peer.name}", spent)
    return made


def record(tally, frame, seed, tool, cost):
    """Keep a cost and say it."""
    tally.add_cost(tool, cost)
    say(
        f"{frame.label} seed {seed}: {tool} {cost.wall:.2f} s wall, {cost.cpu:.2f} s CPU, "
        f"{cost.memory:.2f} GB"
    )


def fail(tally, frame, seed, tool, error):
    """Keep a failure and say it."""
    tally.failures.append(f"{tool}, seed {seed}: {error}")
    say(f"{frame.label} seed {seed}: {tool} failed: {error}")


def say(line):
    """Tell whoever watches."""
    print(line, file=sys.stderr, flush=True)
