"""Headers by which workers and dashboards know a replayed record."""

import re
from collections.abc import Iterable

from residua.errors import MalformedEventError
from residua.messaging.records.events import REPLAY_HEADER, IncomingRecord
from residua_schemas import ArrivalPlace

__all__ = [
    "ORIGIN_HEADER",
    "REPLAY_HEADER",
    "RUN_LABEL_HEADER",
    "is_run_label",
    "origin_header",
    "place_of",
    "replay_headers",
    "run_label",
]

RUN_LABEL_HEADER = "residua-run-label"
"""Label of the run a replayed arrival is for; absent for the worker's own run."""

ORIGIN_HEADER = "residua-origin"
"""Place of the record that is sent again, APPENDTIME/PARTITION/OFFSET: it keeps its rank."""

_PLACE = re.compile(r"(-?\d{1,18})/(\d{1,9})/(\d{1,18})")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def is_run_label(label: str) -> bool:
    """Whether a word can be the label of a run: it becomes part of paths and collections."""
    return _LABEL.fullmatch(label) is not None


def replay_headers(replay_id: str, label: str = "") -> tuple[tuple[str, bytes], ...]:
    """Headers of a replayed record, besides those of CloudEvents.

    Parameters
    ----------
    replay_id
        Name of the replay.
    label
        Label of the run it is for; empty for the worker's own.
    """
    marks = ((REPLAY_HEADER, replay_id.encode()),)
    return (*marks, (RUN_LABEL_HEADER, label.encode())) if label else marks


def origin_header(place: ArrivalPlace) -> tuple[str, bytes]:
    """Header that lets a record that is sent again keep the place of the first."""
    text = f"{place.append_time_ms}/{place.partition}/{place.offset}"
    return ORIGIN_HEADER, text.encode()


def place_of(record: IncomingRecord) -> ArrivalPlace:
    """Place of an arrival in its topic: of its own record, or of the one it repeats.

    What brokers do not stamp themselves has no time here: producers' clocks differ.
    """
    values = [value for name, value in record.headers if name == ORIGIN_HEADER]
    found = _PLACE.fullmatch((values[-1] or b"").decode(errors="replace")) if values else None
    if found is not None:
        time, partition, offset = map(int, found.groups())
        return ArrivalPlace(append_time_ms=time, partition=partition, offset=offset)
    return ArrivalPlace(
        append_time_ms=record.timestamp_ms if record.is_append_time else 0,
        partition=record.partition,
        offset=record.offset,
    )


def run_label(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """Label of the run a record is for, or `None` when it names none.

    Raises
    ------
    MalformedEventError
        The header holds what cannot be a label.
    """
    values = [value for name, value in headers if name == RUN_LABEL_HEADER]
    if not values:
        return None
    label = (values[-1] or b"").decode(errors="replace")
    if not is_run_label(label):
        raise MalformedEventError(
            f"header {RUN_LABEL_HEADER} {label!r:.60} is no label of a run: send 1 to 32 letters, "
            "digits, '_', '.' or '-'"
        )
    return label
