"""Kafka records into the repository: read the events, register them, tell which cannot be."""

from collections.abc import Sequence

from residua.butler.registering.dimensions import Registrable
from residua.butler.registering.registrar import Registrar
from residua.errors import ResiduaError
from residua.messaging.records.events import IncomingRecord, parse_event
from residua_schemas import DifferenceImageCreated, TemplateCoadd, outcome_from_json

__all__ = ["register_records"]


def register_records(
    registrar: Registrar, records: Sequence[IncomingRecord], topic_of_outcomes: str
) -> list[tuple[IncomingRecord, ResiduaError]]:
    """Register what records announce.

    Skipped and failed outcomes make no dataset. Nor does the tombstone of a template: it is no
    longer used, but older difference images were made of it, and stays to be found.

    Parameters
    ----------
    records
        Outcomes and template coadds, in order within each partition.
    topic_of_outcomes
        Full name of the topic ``difference-images``; the other records are template coadds.

    Returns
    -------
    refused
        Records that cannot be read or registered; all others are committed.

    Raises
    ------
    residua.errors.TransientError
        The database or the store does not answer: try all records again.
    """
    refused: list[tuple[IncomingRecord, ResiduaError]] = []
    events: list[Registrable] = []
    origin: dict[int, IncomingRecord] = {}
    for record in records:
        try:
            event = _read(record, topic_of_outcomes)
        except ResiduaError as e:
            refused.append((record, e))
            continue
        if event is not None:
            events.append(event)
            origin[id(event)] = record
    rejected = registrar.register(events)
    return [*refused, *((origin[id(r.event)], r.error) for r in rejected)]


def _read(record: IncomingRecord, topic_of_outcomes: str) -> Registrable | None:
    if record.topic == topic_of_outcomes:
        outcome = parse_event(record, outcome_from_json, "outcome")
        return outcome if isinstance(outcome, DifferenceImageCreated) else None
    if record.is_tombstone:
        return None
    return parse_event(record, TemplateCoadd.model_validate_json, "template coadd")
