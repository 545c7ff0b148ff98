"""What waits in each partition for each group, since when, and how fast it goes: by offsets alone.

Brokers answer all of it without reading a topic, but for one record of each partition that waits.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from residua.messaging.client import consumer, first_record_reader, topic_partitions
from residua.messaging.settings import KafkaSettings

__all__ = ["Backlog", "Waiting", "per_minute", "read_backlogs"]

_FETCH_MS = 5_000
_MINUTES = 10.0


@dataclass(frozen=True)
class Waiting:
    """One partition.

    Parameters
    ----------
    lag
        Records there are that the group has not committed.
    oldest_seconds
        Age of the first of them; `None` without one, or where it could not be read in time.
    """

    partition: int
    lag: int
    oldest_seconds: float | None


@dataclass(frozen=True)
class Backlog:
    """What one group has yet to read of one topic."""

    group: str
    topic: str
    partitions: Sequence[Waiting]

    @property
    def lag(self) -> int:
        """In all partitions."""
        return sum(p.lag for p in self.partitions)

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the oldest unread, of those that are known."""
        known = [p.oldest_seconds for p in self.partitions if p.oldest_seconds is not None]
        return max(known, default=None)


async def read_backlogs(settings: KafkaSettings, asked: Mapping[str, str]) -> list[Backlog]:
    """Ask the brokers.

    Parameters
    ----------
    asked
        From a group's name to the full name of what it reads.

    Raises
    ------
    aiokafka.errors.KafkaError
        They do not answer.
    """
    found = await asyncio.gather(*(_backlog(settings, g, t) for g, t in asked.items()))
    return list(found)


async def per_minute(settings: KafkaSettings, topic: str) -> float:
    """Return how many records a minute came to a topic in the last ten."""
    async with consumer(settings) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        if not places:
            return 0.0
        begin = round((time.time() - 60.0 * _MINUTES) * 1000.0)
        firsts = await client.offsets_for_times(dict.fromkeys(places, begin))
        ends = await client.end_offsets(places)
    # Nothing of a partition is that new: the answer names no offset.
    new = sum(ends[p] - at.offset for p, at in firsts.items() if at is not None)
    return new / _MINUTES


async def _backlog(settings: KafkaSettings, group: str, topic: str) -> Backlog:
    async with consumer(settings, group_id=group) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        firsts, ends = await client.beginning_offsets(places), await client.end_offsets(places)
        next_offsets = {
            place: min(ends[place], max(firsts[place], await client.committed(place) or 0))
            for place in places
        }
    waiting = {p: at for p, at in next_offsets.items() if at < ends[p]}
    ages = await _ages(settings, waiting)
    return Backlog(
        group,
        topic,
        [Waiting(p.partition, ends[p] - next_offsets[p], ages.get(p)) for p in places],
    )


async def _ages(
    settings: KafkaSettings, waiting: Mapping[TopicPartition, int]
) -> dict[TopicPartition, float]:
    if not waiting:
        return {}
    async with first_record_reader(settings) as client:
        client.assign(list(waiting))
        for place, offset in waiting.items():
            client.seek(place, offset)
        found: dict[TopicPartition, float] = {}
        deadline = time.monotonic() + _FETCH_MS / 1000.0
        while len(found) < len(waiting) and time.monotonic() < deadline:
            await _look(client, found, [p for p in waiting if p not in found])
    return found


async def _look(
    client: AIOKafkaConsumer,
    found: dict[TopicPartition, float],
    unknown: Sequence[TopicPartition],
) -> None:
    answer = await client.getmany(*unknown, timeout_ms=500, max_records=len(unknown))
    for place, records in answer.items():
        found[place] = max(0.0, time.time() - records[0].timestamp / 1000.0)
