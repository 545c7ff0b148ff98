"""Outcomes as Avro: what dashboards and brokers ask for by name, and the whole event beside it."""

import io
from typing import Any

from residua.outcomes import Outcome

__all__ = ["SCHEMA", "outcome_payload"]


def _optional(name: str, kind: Any, doc: str) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None, "doc": doc}


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "DifferenceImageOutcome",
    "namespace": "org.residua",
    "doc": "One outcome of a visit-detector in a run; the event in JSON holds all there is.",
    "fields": [
        {"name": "outcome", "type": "string", "doc": "created, skipped or failed."},
        {"name": "run", "type": "string"},
        {"name": "dataset_id", "type": "string", "doc": "UUID of the difference image."},
        {"name": "instrument", "type": "string"},
        {"name": "visit", "type": "long"},
        {"name": "detector", "type": "int"},
        {"name": "revision", "type": "int"},
        {"name": "band", "type": "string"},
        _optional("group", "string", "Observatory's own name of the group of exposures."),
        _optional("day_obs", "int", "Observing day, YYYYMMDD."),
        _optional("uri", "string", "Where the difference image is."),
        _optional("checksum", "string", "Of that file."),
        _optional("error", "string", "Name of the error, of a failed outcome."),
        _optional("responsible", "string", "Who should act, of a failed outcome."),
        _optional("reason", "string", "Of a skipped outcome."),
        _optional("message", "string", "One sentence for a person."),
        {"name": "event", "type": "string", "doc": "The whole event, JSON of its contract."},
    ],
}
"""Avro schema; fields are only added, with a default."""


def outcome_payload(outcome: Outcome) -> bytes:
    """Encode an outcome by `SCHEMA`, without a frame."""
    import fastavro

    identity, arrival = outcome.visit_detector, outcome.arrival
    record = {
        "outcome": outcome.outcome,
        "run": outcome.run,
        "dataset_id": str(outcome.dataset_id),
        "instrument": identity.instrument,
        "visit": identity.visit,
        "detector": identity.detector,
        "revision": outcome.revision,
        "band": arrival.band,
        "group": arrival.group,
        "day_obs": getattr(outcome, "day_obs", None) or arrival.day_obs,
        "event": outcome.model_dump_json(exclude_none=True),
    }
    for name in ("uri", "checksum", "error", "responsible", "reason", "message"):
        value = getattr(outcome, name, None)
        record[name] = None if value is None else str(value)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, SCHEMA, record)
    return stream.getvalue()
