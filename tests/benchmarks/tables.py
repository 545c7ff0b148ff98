"""Print and write what the subtraction benchmark found."""

import json
import sys
from dataclasses import asdict

FIDELITY_COLUMNS = (
    "tool",
    "pull",
    "S",
    "lag-1",
    "lag-2",
    "> 7 sigma",
    "by S/N 5-7, -10, -20, more",
    "FP sky/stars/galaxies",
    "flux pull",
    "scatter",
    "S/N ratio",
    "pull by brightness",
    "masked",
)


def print_frame(label, tally):
    """Print the tables of cost and of fidelity of one frame."""
    loads = " ".join(f"{v:.2f}" for v in tally.load)
    print(f"\n## {label}\n\nLoad average before each seed: {loads}\n")
    print("| tool | wall s | CPU s | GB | first call s | wall ratio | CPU ratio |\n|" + "---|" * 7)
    costs = tally.cost()
    ours = costs["residua"]
    for tool, cost in costs.items():
        print(
            f"| {tool} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:.2f} "
            f"| {cost.first_call:.1f} | {cost.wall / ours.wall:.1f} | {cost.cpu / ours.cpu:.1f} |"
        )
    print(f"\n| {' | '.join(FIDELITY_COLUMNS)} |\n|" + "---|" * len(FIDELITY_COLUMNS))
    for tool, f in tally.fidelity().items():
        bins = " ".join(f"{r}/{n}" for r, n in zip(f.recovered, f.injected, strict=True))
        bright = " ".join(f"{v:.2f}" for v in f.pull_by_brightness)
        print(
            f"| {tool} | {f.pull:.4f} | {f.matched_filter_sn_std:.4f} "
            f"| {f.lag1:.4f} | {f.lag2:.4f} "
            f"| {100 * f.recovered_above_7:.1f} % | {bins} "
            f"| {f.false_positives_sky}/{f.false_positives_stars}/{f.false_positives_galaxies} "
            f"| {f.flux_pull_median:.3f} +- {f.flux_pull_median_error:.3f} "
            f"| {f.flux_pull_scatter:.3f} | {f.sn_ratio:.3f} | {bright} | {f.masked_fraction:.4f} |"
        )
    for rejection in tally.rejections:
        print(f"\nBeyond the default limits: {rejection}")
    for failure in tally.failures:
        print(f"\nFailed: {failure}")
    sys.stdout.flush()


def write_json(path, arguments, machine, tools, tallies):
    """Write everything that was asked for, found and measured."""
    record = {
        "arguments": vars(arguments),
        "machine": machine,
        "tools": tools,
        "frames": {label: _frame(tally) for label, tally in tallies.items()},
    }
    path.write_text(json.dumps(record, indent=1, default=str) + "\n")


def _frame(tally):
    fidelity = {
        tool: asdict(f) | {"flux_pull_median_error": f.flux_pull_median_error}
        for tool, f in tally.fidelity().items()
    }
    return {
        "cost": {tool: asdict(cost) for tool, cost in tally.cost().items()},
        "cost_by_seed": {tool: [asdict(c) for c in costs] for tool, costs in tally.costs.items()},
        "load_by_seed": tally.load,
        "fidelity": fidelity,
        "rejections": tally.rejections,
        "failures": tally.failures,
    }
