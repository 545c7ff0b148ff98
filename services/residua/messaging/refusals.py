"""Telling of a record that cannot be used: the same way in every service."""

import structlog

from residua.errors import ResiduaError, UnreadableRecordError
from residua.metrics import Metrics

__all__ = ["note_refusal"]


def note_refusal(topic: str, error: ResiduaError, metrics: Metrics) -> None:
    """Log and count a record that goes to the dead letters.

    One that no client of ours can decode is an alarm: unlike a malformed event it may be whole.

    Parameters
    ----------
    topic
        Full name of the record's topic.
    """
    metrics.dead_letter(topic, type(error).__name__)
    log = structlog.get_logger(__name__)
    if isinstance(error, UnreadableRecordError):
        log.error("unreadable_record", message=error.message)
    else:
        log.warning("dead_letter", error=type(error).__name__, message=error.message)
