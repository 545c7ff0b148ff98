"""Records that retention removed before they were read: counted, for nobody else would tell."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from residua.messaging.client import consumer, topic_partitions
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics

__all__ = ["LostRecords", "Offsets", "first_readable", "lost_between", "lost_to_retention"]

type Offsets = Callable[[int], Awaitable[tuple[int | None, int]]]
"""From a partition to its group's committed offset (`None`: nothing yet) and its first offset."""


def lost_between(committed: int | None, first: int) -> int:
    """Return how many offsets lie between what was committed and what is still there."""
    return 0 if committed is None else max(0, first - committed)


async def lost_to_retention(settings: KafkaSettings, group: str, topic: str) -> int:
    """Count the offsets of a topic that are gone and that a group has not read.

    Parameters
    ----------
    topic
        Full name.
    """
    async with consumer(settings, group_id=group) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        firsts = await client.beginning_offsets(places)
        return sum([lost_between(await client.committed(p), firsts[p]) for p in places])


async def first_readable(
    client: AIOKafkaConsumer, place: TopicPartition, begin: int, seconds: float = 10.0
) -> int | None:
    """Return the offset of the first record from an offset on; `None` if none comes soon.

    Parameters
    ----------
    client
        Of `residua.messaging.client.first_record_reader`, with nothing assigned to it.
    """
    client.assign([place])
    try:
        client.seek(place, begin)
        async with asyncio.timeout(seconds):
            return int((await client.getone()).offset)
    except TimeoutError:
        return None
    finally:
        client.unsubscribe()


class LostRecords:
    """Finds gaps between what a group has read and what a topic still holds.

    The client goes on at the first record there is, without a word.

    Parameters
    ----------
    topic
        Full name.
    group
        Consumer group.
    offsets
        Asks the broker.
    metrics
        Where they are counted.
    """

    def __init__(self, topic: str, group: str, offsets: Offsets, metrics: Metrics) -> None:
        self._topic = topic
        self._group = group
        self._offsets = offsets
        self._metrics = metrics
        self._expected: dict[int, int] = {}
        self._told: dict[int, int] = {}

    def expected(self, partition: int) -> int | None:
        """Return the offset after the last record that was noted."""
        return self._expected.get(partition)

    async def note(self, partition: int, offset: int) -> int:
        """Take note of a record before it is handled and its offset committed.

        The broker is asked where offsets do not follow each other, and for the first record.

        Returns
        -------
        begin
            The first offset that is there and not known to be done; below ``offset`` there is a
            gap.
        """
        expected, begin = self._expected.get(partition), offset
        if expected != offset:
            committed, first = await self._offsets(partition)
            self._tell(partition, committed, first, below=offset)
            known = expected if expected is not None and expected < offset else 0
            begin = min(offset, max(first, committed or 0, known))
        self._expected[partition] = offset + 1
        return begin

    def passed(self, partition: int, offset: int) -> None:
        """Take note of the last record of a batch; compaction leaves gaps within one."""
        self._expected[partition] = offset + 1

    async def look(self, partition: int) -> int:
        """Tell of what is gone; returns the first offset that is there and was not committed."""
        committed, first = await self._offsets(partition)
        self._tell(partition, committed, first)
        return max(first, committed or 0)

    def _tell(
        self, partition: int, committed: int | None, first: int, below: int | None = None
    ) -> None:
        if committed is None:
            return
        end = first if below is None else min(first, below)
        begin = max(committed, self._told.get(partition, 0))
        lost = lost_between(begin, end)
        if lost:
            self._told[partition] = end
            self._metrics.lost_to_retention(self._topic, lost)
            structlog.get_logger(__name__).error(
                "records_lost_to_retention",
                topic=self._topic,
                partition=partition,
                group=self._group,
                committed=committed,
                first=first,
                lost=lost,
                remedy="read sooner or keep longer; send them again",
            )
