"""From an outcome to its row of ``visit_detector``, and to its line in ``arrival_outcome``."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from pydantic_core import to_json

from residua.catalog.rows import center_of
from residua.obscore import visit_detector
from residua_schemas import (
    DetectionsReference,
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageOutcome,
    DifferenceImageSkipped,
)

__all__ = ["OutcomeRows", "outcome_rows", "visit_detector_row"]

_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001 TAI
_UNIX_EPOCH_MJD = 40_587.0
# TAI - UTC of the years this software has seen; it only shifts a latency.
_LEAP_SECONDS = 37.0
_AB_ZERO_POINT_OF_NJY = 31.4

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OutcomeRows:
    """What the tables beside `obscore` hold of an outcome.

    A batch keeps these, not the events: a hundred objects each, among which Python's garbage
    collector would search again and again.

    Parameters
    ----------
    dataset_id
        UUID of its difference image.
    precedence
        What displaces what: created before all others, then the higher number.
    visit_detector
        Row in every column but its number and that of its detections.
    detections
        Where the table of its detections is.
    arrival_outcome
        Values of its row, in the order of the columns.
    """

    dataset_id: str
    precedence: tuple[bool, int]
    visit_detector: Row
    detections: DetectionsReference | None
    arrival_outcome: tuple[str | int | None, ...]


def outcome_rows(
    event: DifferenceImageOutcome,
    timestamp_ms: int | None = None,
    arrival: str | None = None,
    cpu_seconds: float | None = None,
) -> OutcomeRows:
    """Rows of an outcome.

    Parameters
    ----------
    timestamp_ms
        When its record was written, since 1970.
    arrival
        JSON of its arrival, if the caller has it.
    cpu_seconds
        What it took to make, if the record says so. Not part of the row's hash: an outcome that
        comes again, unmade, is no other.
    """
    row = visit_detector_row(event, timestamp_ms)
    row["cpu_seconds"] = cpu_seconds
    who, place = event.visit_detector, event.place
    return OutcomeRows(
        dataset_id=row["dataset_id"],
        precedence=(event.outcome == "created", event.revision),
        visit_detector=row,
        detections=event.detections if isinstance(event, DifferenceImageCreated) else None,
        arrival_outcome=(
            row["dataset_id"],
            event.revision,
            event.run,
            who.instrument,
            who.visit,
            who.detector,
            event.outcome,
            row["day_obs"],
            timestamp_ms or 0,
            None if place is None else place.append_time_ms,
            None if place is None else place.partition,
            None if place is None else place.offset,
            arrival or event.arrival.model_dump_json(exclude_none=True),
        ),
    )


def visit_detector_row(event: DifferenceImageOutcome, timestamp_ms: int | None = None) -> Row:
    """Row of an outcome, in every column but its number and that of its detections."""
    v = event.visit_detector
    row: Row = _empty() | {
        "dataset_id": str(event.dataset_id),
        "instrument": v.instrument,
        "visit": v.visit,
        "detector": v.detector,
        "run": event.run,
        "revision": event.revision,
        "outcome": event.outcome,
        "band": event.arrival.band,
        "physical_filter": event.arrival.physical_filter,
        "day_obs": event.arrival.day_obs,
    }
    match event:
        case DifferenceImageCreated():
            row |= _created(event, timestamp_ms)
        case DifferenceImageSkipped():
            row |= {"reason": event.reason, "message": event.message}
        case DifferenceImageFailed():
            row |= {
                "reason": event.error,
                "message": event.message,
                "responsible": event.responsible,
            }
    # Columns stand in one order, so that an equal event gives an equal text.
    row["row_hash"] = hashlib.sha256(to_json(list(row.values()))).hexdigest()
    return row


def _created(event: DifferenceImageCreated, timestamp_ms: int | None) -> Row:
    ra, dec = center_of(event.region)
    begin, end = _mjd(event.begin_tai), _mjd(event.end_tai)
    middle = begin if end is None or begin is None else (begin + end) / 2.0
    quality, kernel = vars(event.quality), vars(event.kernel)
    of_quality, of_kernel = _measured()
    flags = event.quality.flags
    latency = None
    if timestamp_ms is not None and timestamp_ms > 0 and end is not None:
        written = timestamp_ms / 1000.0 + _LEAP_SECONDS
        latency = written - (end - _UNIX_EPOCH_MJD) * 86_400.0
    image = event.visit_image_metadata
    return {
        "band": event.band,
        "physical_filter": event.physical_filter,
        "day_obs": event.day_obs,
        "obsstartmjd": begin,
        "expmidptmjd": middle,
        "exptime": event.exposure_time,
        "airmass": event.airmass,
        "ra": ra,
        "dec": dec,
        "xsize": event.shape[1],
        "ysize": event.shape[0],
        "pixelscale": event.pixel_scale,
        "unit": event.unit,
        "zeropoint": _AB_ZERO_POINT_OF_NJY if event.unit == "nJy" else None,
        "seeing": None if image is None else image.psf_fwhm,
        "psf_fwhm": event.psf_fwhm,
        "latency": latency,
        **{name: quality[name] for name in of_quality},
        **{f"kernel_{name}": kernel[name] for name in of_kernel},
        "quality_flags": f"/{'/'.join(flag.name for flag in flags)}/" if flags else None,
    }


@cache
def _measured() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fields of the quality and of the kernel that are columns."""
    fields = DifferenceImageCreated.model_fields
    quality, kernel = fields["quality"].annotation, fields["kernel"].annotation
    assert quality is not None
    assert kernel is not None
    return (
        tuple(name for name in quality.model_fields if name in _names()),
        tuple(name for name in kernel.model_fields if f"kernel_{name}" in _names()),
    )


@cache
def _names() -> frozenset[str]:
    hidden = {"visitdetectorid", "row_hash", "sources"}
    return frozenset(column.name for column in visit_detector.columns) - hidden


@cache
def _empty() -> Row:
    return dict.fromkeys(c.name for c in visit_detector.columns if c.name in _names())


def _mjd(tai: datetime | None) -> float | None:
    return None if tai is None else (tai - _MJD_ZERO).total_seconds() / 86_400.0
