"""Records that retention removed before they were read: counted, for nobody else would tell."""

from collections.abc import Awaitable, Callable

import structlog
from aiokafka import TopicPartition

from residua.messaging.client import consumer, topic_partitions
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics

__all__ = ["LostRecords", "Offsets", "lost_between", "lost_to_retention"]

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

    async def note(self, partition: int, offset: int) -> None:
        """Take note of a record before it is handled and its offset committed.

        The broker is asked where offsets do not follow each other, and for the first record.
        """
        if self._expected.get(partition) != offset:
            await self.look(partition, below=offset)
        self._expected[partition] = offset + 1

    def passed(self, partition: int, offset: int) -> None:
        """Take note of the last record of a batch; compaction leaves gaps within one."""
        self._expected[partition] = offset + 1

    async def look(self, partition: int, below: int | None = None) -> int:
        """Tell of what is gone; returns the number of offsets, also if it was told before.

        Parameters
        ----------
        below
            The next record that is there, where that is known.
        """
        committed, first = await self._offsets(partition)
        if committed is None:
            return 0
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
        return lost_between(committed, end)
