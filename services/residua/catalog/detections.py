"""From outcomes to rows of ``visit_detector``, and from tables of detections to ``dia_source``."""

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import Connection, delete, select

from residua.catalog.rows import center_of
from residua.errors import ChecksumMismatchError, MissingFileError
from residua.obscore import dia_source, visit_detector
from residua.storage.objects import read_object, resolve
from residua_schemas import (
    DetectionsReference,
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageOutcome,
    DifferenceImageSkipped,
)

__all__ = ["DetectionReader", "Outcome", "detection_reader", "visit_detector_row", "write_outcomes"]

_log = structlog.get_logger(__name__)
_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001 TAI
_UNIX_EPOCH_MJD = 40_587.0
# TAI - UTC of the years this software has seen; it only shifts a latency.
_LEAP_SECONDS = 37.0
_AB_ZERO_POINT_OF_NJY = 31.4

type Row = dict[str, Any]
type DetectionReader = Callable[[DetectionsReference], Sequence[Row] | None]
"""Rows of a table of detections by its reference; `None` if it is not there (any more)."""


@dataclass(frozen=True)
class Outcome:
    """An outcome and when its record was written.

    Parameters
    ----------
    timestamp_ms
        Since 1970.
    arrival
        JSON of its arrival, if the caller has it.
    """

    event: DifferenceImageOutcome
    timestamp_ms: int | None = None
    arrival: str | None = None


def detection_reader(roots: Sequence[str]) -> DetectionReader:
    """Return what reads tables of detections under some roots."""

    def read(reference: DetectionsReference) -> Sequence[Row] | None:
        location = resolve(reference.uri, roots)
        try:
            content, _ = read_object(location, reference.checksum)
        except (MissingFileError, ChecksumMismatchError) as e:
            # Of an older revision: the table of the newest one is there.
            _log.warning("detections_not_there", uri=reference.uri, reason=e.message)
            return None
        return _rows(content)

    return read


def _rows(content: bytes) -> list[Row]:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    known = {column.name for column in dia_source.columns}
    names = [name for name in table.column_names if name.lower() in known]
    columns = [_values(table.column(name)) for name in names]
    keys = [name.lower() for name in names]
    return [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any]:
    # Flags are whole numbers in the databases.
    plain = column.cast("int8") if str(column.type) == "bool" else column
    return list(plain.to_pylist())


def visit_detector_row(outcome: Outcome) -> Row:
    """Row of an outcome, in every column but its number and that of its detections."""
    event = outcome.event
    row: Row = dict.fromkeys(_order())
    v = event.visit_detector
    row |= {
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
            row |= _created(event, outcome.timestamp_ms)
        case DifferenceImageSkipped():
            row |= {"reason": event.reason, "message": event.message}
        case DifferenceImageFailed():
            row |= {
                "reason": event.error,
                "message": event.message,
                "responsible": event.responsible,
            }
    # Columns stand in one order, so that an equal event gives an equal text.
    text = "\x1f".join(map(str, row.values()))
    row["row_hash"] = hashlib.sha256(text.encode()).hexdigest()
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


def write_outcomes(
    connection: Connection, outcomes: Iterable[Outcome], read: DetectionReader | None
) -> int:
    """Insert or replace the rows of outcomes and their detections, in the caller's transaction.

    A row gives way to one of a higher number, and to other content under the same one; so do its
    detections, all of them at once. What was skipped, failed or came too late displaces no image
    (`residua.ledger`). Writing the same twice changes nothing.

    Parameters
    ----------
    read
        Reads tables of detections; `None` leaves them out.

    Returns
    -------
    changed
        Number of rows of ``visit_detector`` that were inserted or replaced.
    """
    newest: dict[str, Outcome] = {}
    for outcome in outcomes:
        key = str(outcome.event.dataset_id)
        held = newest.get(key)
        if held is None or _precedence(outcome.event) >= _precedence(held.event):
            newest[key] = outcome
    # One order for all writers, so that two never wait for each other's locks.
    rows = {key: visit_detector_row(newest[key]) for key in sorted(newest)}
    there = _there(connection, list(rows))
    changed = {
        key: _reference(newest[key].event)
        for key, row in rows.items()
        if not _holds(there.get(key), row, _reference(newest[key].event), read)
    }
    found = {
        key: None if reference is None or read is None else read(reference)
        for key, reference in changed.items()
    }
    for key, detections in found.items():
        rows[key]["sources"] = None if detections is None else len(detections)
    if not changed:
        return 0
    _upsert(connection, [rows[key] for key in changed])
    wanted = [key for key in changed if key in there or found[key]]
    numbers = {key: row.visitdetectorid for key, row in _there(connection, wanted).items()}
    old = [numbers[key] for key in changed if key in there]
    if old:
        connection.execute(delete(dia_source).where(dia_source.c.visitdetectorid.in_(old)))
    for key, detections in found.items():
        if detections:
            _insert(connection, numbers[key], detections)
    return len(changed)


def _precedence(event: DifferenceImageOutcome) -> tuple[bool, int]:
    return event.outcome == "created", event.revision


def _there(connection: Connection, keys: Sequence[str]) -> dict[str, Any]:
    if not keys:
        return {}
    c = visit_detector.c
    columns = (c.dataset_id, c.visitdetectorid, c.revision, c.outcome, c.row_hash, c.sources)
    statement = select(*columns).where(c.dataset_id.in_(keys)).order_by(c.dataset_id)
    return {row.dataset_id: row for row in connection.execute(statement.with_for_update())}


def _holds(
    there: Any, row: Row, reference: DetectionsReference | None, read: DetectionReader | None
) -> bool:
    """Whether the database has this row, or a newer one, with its detections."""
    if there is None:
        return False
    held = (there.outcome == "created", there.revision)
    new = (row["outcome"] == "created", row["revision"])
    if held != new:
        return held > new
    loaded = there.sources is not None or reference is None or read is None
    return bool(loaded and there.row_hash == row["row_hash"])


def _reference(event: DifferenceImageOutcome) -> DetectionsReference | None:
    return event.detections if isinstance(event, DifferenceImageCreated) else None


def _upsert(connection: Connection, rows: Sequence[Row]) -> None:
    names = [column.name for column in visit_detector.columns if column.name != "visitdetectorid"]
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    quoted = ", ".join(f'"{name}"' for name in names)
    replace = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "dataset_id")
    connection.exec_driver_sql(
        f"INSERT INTO visit_detector ({quoted}) VALUES ({', '.join([mark] * len(names))}) "  # noqa: S608 our own words
        f"ON CONFLICT (dataset_id) DO UPDATE SET {replace}",
        list(map(itemgetter(*names), rows)),
    )


def _insert(connection: Connection, image: int, rows: Sequence[Row]) -> None:
    names = [name for name in rows[0] if name != "visitdetectorid"]
    quoted = ", ".join(f'"{name}"' for name in ("visitdetectorid", *names))
    values = [(image, *(row[name] for name in names)) for row in rows]
    if connection.dialect.name != "postgresql":
        places = ", ".join("?" * (len(names) + 1))
        connection.exec_driver_sql(f"INSERT INTO dia_source ({quoted}) VALUES ({places})", values)  # noqa: S608 our own words
        return
    cursor: Any = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY dia_source ({quoted}) FROM STDIN") as stream:
            for value in values:
                stream.write_row(value)
    finally:
        cursor.close()


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
def _order() -> tuple[str, ...]:
    return tuple(column.name for column in visit_detector.columns if column.name in _names())


def _mjd(tai: datetime | None) -> float | None:
    return None if tai is None else (tai - _MJD_ZERO).total_seconds() / 86_400.0
