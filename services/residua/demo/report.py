"""Judge the demo's difference images against the truth, and show the result."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from residua.demo.local import OUTCOME_LOG
from residua.demo.run import DemoResult
from residua.outcomes import Outcome
from residua.simulation.fidelity import (
    Measurement,
    measure,
    pool,
    usable_pixels,
)
from residua.simulation.independent_filter import Peak, filter_image, find_peaks
from residua.simulation.sky import SimulatedPair
from residua.storage.read.read_back import read_difference_image
from residua.subtraction.masks import MaskBit
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    VisitDetector,
)

__all__ = ["judge", "outcome_table", "summarise"]


def judge(
    result: DemoResult, truth: Mapping[VisitDetector, SimulatedPair]
) -> dict[VisitDetector, Measurement]:
    """Read each created file back and measure it; only where the truth is known."""
    measurements = {}
    for visit_detector, outcome in result.outcomes.items():
        if isinstance(outcome, DifferenceImageCreated) and visit_detector in truth:
            stored = read_difference_image(outcome.uri)
            good = usable_pixels(stored.image, stored.variance, stored.mask)
            assert stored.psf is not None
            filtered = filter_image(stored.image, stored.variance, good, stored.psf)
            measurements[visit_detector] = measure(
                stored.image,
                stored.variance,
                good,
                stored.psf,
                truth[visit_detector],
                detections=_flagged(find_peaks(filtered.signal_to_noise, good), stored.mask),
            )
    return measurements


def _flagged(peaks: Sequence[Peak], mask: npt.NDArray[np.int32]) -> list[Peak]:
    # The file's own claim: peaks inside its detection planes.
    planes = MaskBit.DETECTED | MaskBit.DETECTED_NEGATIVE
    return [p for p in peaks if mask[round(p.y), round(p.x)] & planes]


def summarise(
    result: DemoResult,
    measurements: Mapping[VisitDetector, Measurement],
    output: Path,
    seconds: float,
) -> dict[str, object]:
    """Sum the demo up as one JSON object."""
    outcomes = list(result.outcomes.values())
    created = [o for o in outcomes if isinstance(o, DifferenceImageCreated)]
    summary: dict[str, object] = {
        "arrivals": len(outcomes),
        "created": len(created),
        "skipped": sum(isinstance(o, DifferenceImageSkipped) for o in outcomes),
        "failed": sum(isinstance(o, DifferenceImageFailed) for o in outcomes),
        "dead_letters": len(result.dead_letters),
        "rows": result.rows,
        "butler_datasets": result.registered,
        "files": len(list((output / "difference_images").rglob("*.fits"))),
        "transients_injected": None,
        "transients_recovered": None,
        "false_positives": None,
        "pull_rms": None,
        "matched_filter_sn_std": None,
        "lag1_autocorrelation": None,
        "seconds": round(seconds, 2),
        "seconds_arrivals_to_rows": round(result.seconds, 2),
        "output_dir": str(output),
        "catalog": str(output / "catalog.sqlite"),
        "butler_repo": str(output / "butler"),
        "outcome_log": str(output / OUTCOME_LOG),
    }
    if measurements:
        fidelity = pool(list(measurements.values()))
        summary |= {
            # Those an ideal subtraction shows at S/N > 7 on usable pixels.
            "transients_injected": sum(fidelity.injected[1:]),
            "transients_recovered": sum(fidelity.recovered[1:]),
            "false_positives": fidelity.false_positives,
            "pull_rms": fidelity.pull,
            "matched_filter_sn_std": fidelity.matched_filter_sn_std,
            "lag1_autocorrelation": fidelity.lag1,
        }
    summary["images"] = [_entry(o, measurements.get(v)) for v, o in result.outcomes.items()]
    return summary


def _entry(outcome: Outcome, measurement: Measurement | None) -> dict[str, object]:
    entry: dict[str, object] = {
        "visit_detector": str(outcome.visit_detector),
        "outcome": outcome.outcome,
        "dataset_id": str(outcome.dataset_id),
    }
    match outcome:
        case DifferenceImageCreated():
            entry |= {
                "uri": outcome.uri,
                "preview_uri": outcome.preview_uri,
                "checksum": outcome.checksum,
                "unit": outcome.unit,
                "quality": outcome.quality.model_dump(exclude_none=True),
            }
        case DifferenceImageSkipped():
            entry |= {"reason": outcome.reason, "message": outcome.message}
            entry["numbers"] = outcome.numbers
        case DifferenceImageFailed():
            entry |= {"error": outcome.error, "message": outcome.message}
            entry["responsible"] = outcome.responsible
    if measurement is not None:
        fidelity = pool([measurement])
        entry |= {
            "transients_injected": sum(fidelity.injected[1:]),
            "transients_recovered": sum(fidelity.recovered[1:]),
            "false_positives": fidelity.false_positives,
        }
    return entry


def outcome_table(
    result: DemoResult, measurements: Mapping[VisitDetector, Measurement]
) -> RenderableType:
    """One line for each visit-detector, and below them why some have no image."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("visit/detector", no_wrap=True)
    table.add_column("outcome")
    for name in ("S/N>7", "false", "pull", "S", "lag-1", "+/-"):
        table.add_column(name, justify="right", no_wrap=True)
    reasons = []
    for visit_detector, outcome in result.outcomes.items():
        name = f"{visit_detector.visit}/{visit_detector.detector}"
        match outcome:
            case DifferenceImageCreated():
                figures = _figures(outcome, measurements.get(visit_detector))
                table.add_row(name, "[green]created[/]", *figures)
            case DifferenceImageSkipped():
                table.add_row(name, "[yellow]skipped[/]")
                coverage = f"coverage {outcome.numbers.get('coverage', 0.0):.1%}"
                reasons.append(f"{name}: {outcome.reason}, {coverage}")
            case DifferenceImageFailed():
                table.add_row(name, "[red]failed[/]")
                reasons.append(f"{name}: {outcome.error}, for the {outcome.responsible} to mend")
    return Group(table, *(Text(reason) for reason in reasons))


def _figures(outcome: DifferenceImageCreated, measurement: Measurement | None) -> list[str]:
    quality = outcome.quality
    detections = f"{quality.detections_positive}/{quality.detections_negative}"
    if measurement is None:
        values = (
            quality.pull_rms,
            quality.matched_filter_sn_std,
            quality.lag1_autocorrelation,
        )
        return ["", "", *map(_figure, values), detections]
    fidelity = pool([measurement])
    found = f"{sum(fidelity.recovered[1:])}/{sum(fidelity.injected[1:])}"
    values = (fidelity.pull, fidelity.matched_filter_sn_std, fidelity.lag1)
    return [found, str(fidelity.false_positives), *map(_figure, values), detections]


def _figure(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.3f}"
