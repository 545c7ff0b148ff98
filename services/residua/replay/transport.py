"""Reading the topics a replay needs."""

from collections.abc import Callable

from residua.messaging.client import read_to_end
from residua.messaging.records.events import IncomingRecord, incoming
from residua.messaging.settings import KafkaSettings
from residua.replay.history import History
from residua.replay.progress import Ends
from residua.replay.selection import Selection
from residua_schemas import DEAD_LETTERS, DIFFERENCE_IMAGES, VISIT_ARRIVALS, Topic

__all__ = ["read_history"]


async def read_history(
    settings: KafkaSettings, selection: Selection, ends: Ends | None = None
) -> tuple[History, Ends]:
    """Read arrivals, outcomes and dead letters.

    Parameters
    ----------
    selection
        Identities that are wanted.
    ends
        How far to read; by default all there is.

    Returns
    -------
    history
        What the topics tell.
    ends
        How far they were read.
    """
    history = History(selection, settings.topic_name(VISIT_ARRIVALS))
    feeds: tuple[tuple[Topic, Callable[[IncomingRecord], None]], ...] = (
        (VISIT_ARRIVALS, history.add_arrival),
        (DIFFERENCE_IMAGES, history.add_outcome),
        (DEAD_LETTERS, history.add_dead_letter),
    )
    read: Ends = {}
    for topic, add in feeds:
        seen = read.setdefault(topic.name, {})
        limits = None if ends is None else ends.get(topic.name, {})
        async for record in read_to_end(settings, settings.topic_name(topic)):
            if limits is not None and record.offset >= limits.get(record.partition, 0):
                continue
            seen[record.partition] = max(record.offset + 1, seen.get(record.partition, 0))
            add(incoming(record))
    return history, read
