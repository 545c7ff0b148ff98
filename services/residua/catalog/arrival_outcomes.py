"""All outcomes in one table, one small row each: what replays are planned from."""

from collections.abc import Iterable

from sqlalchemy import Connection

from residua.catalog.detections import Outcome
from residua.obscore import arrival_outcome

__all__ = ["keep_outcomes"]


def keep_outcomes(connection: Connection, outcomes: Iterable[Outcome]) -> None:
    """Insert those that are not there, in the caller's transaction."""
    rows = [_row(outcome) for outcome in outcomes]
    if not rows:
        return
    names = ", ".join(column.name for column in arrival_outcome.columns)
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    connection.exec_driver_sql(
        f"INSERT INTO arrival_outcome ({names}) "  # noqa: S608 our own words
        f"VALUES ({', '.join([mark] * len(rows[0]))}) ON CONFLICT DO NOTHING",
        # One order for all writers, so that two never wait for each other's locks.
        sorted(rows, key=lambda row: row[:2]),
    )


def _row(outcome: Outcome) -> tuple[str | int | None, ...]:
    event = outcome.event
    who, place = event.visit_detector, event.place
    return (
        str(event.dataset_id),
        event.revision,
        event.run,
        who.instrument,
        who.visit,
        who.detector,
        event.outcome,
        getattr(event, "day_obs", None) or event.arrival.day_obs,
        outcome.timestamp_ms or 0,
        None if place is None else place.append_time_ms,
        None if place is None else place.partition,
        None if place is None else place.offset,
        outcome.arrival or event.arrival.model_dump_json(exclude_none=True),
    )
