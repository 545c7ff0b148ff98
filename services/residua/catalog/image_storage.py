"""Which images are not kept for ever, as their outcomes say; `residua expire` writes the rest."""

from collections.abc import Iterable

from sqlalchemy import Connection

from residua.catalog.detections import Outcome
from residua.obscore import set_storage
from residua_schemas import DifferenceImageCreated

__all__ = ["keep_storage"]

_STATES = {"recent": "recent", "none": "on demand"}


def keep_storage(connection: Connection, outcomes: Iterable[Outcome]) -> None:
    """Insert what is not there, or is of a lower number, in the caller's transaction."""
    events = [o.event for o in outcomes if isinstance(o.event, DifferenceImageCreated)]
    rows = [(str(e.dataset_id), e.revision, _STATES[e.store], e.run) for e in events if e.store]
    # One order for all writers, so that two never wait for each other's locks.
    set_storage(connection, sorted(rows))
