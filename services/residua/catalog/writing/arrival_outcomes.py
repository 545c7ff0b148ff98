"""All outcomes in one table, one small row each: what replays are planned from."""

from collections.abc import Iterable

from sqlalchemy import Connection

from residua.catalog.outcome_rows import OutcomeRows
from residua.catalog.writing.inserting import insert_rows
from residua.obscore import arrival_outcome

__all__ = ["keep_outcomes"]

_NAMES = tuple(column.name for column in arrival_outcome.columns)


def keep_outcomes(connection: Connection, outcomes: Iterable[OutcomeRows]) -> None:
    """Insert those that are not there, in the caller's transaction."""
    rows = [o.arrival_outcome for o in outcomes]
    insert_rows(connection, "arrival_outcome", _NAMES, rows, "ON CONFLICT DO NOTHING")
