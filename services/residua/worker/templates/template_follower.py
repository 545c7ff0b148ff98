"""Follows the topic ``template-coadds``: what is in force is in the index before it is asked."""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from residua.errors import ResiduaError
from residua.messaging.client import consumer, topic_partitions
from residua.messaging.records.events import incoming
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics
from residua.worker.templates.in_force import Templates
from residua_schemas import TEMPLATE_COADDS

__all__ = ["TemplateFollower"]

_PARTITIONS_SECONDS = 1.0
"""How old the knowledge of the topic's partitions may be while nobody asks."""


class TemplateFollower:
    """Keeps `Templates` abreast of the topic, outside any consumer group.

    Partitions that are added are read from their start. A topic that was deleted and made anew
    is another topic: the index is filled anew.

    Parameters
    ----------
    index
        The index to feed.
    settings
        How to reach Kafka.
    metrics
        Where the number of templates is shown.
    arrived
        By partition of the arrivals' topic, an offset below which all arrivals are older than now.
    """

    def __init__(
        self,
        index: Templates,
        settings: KafkaSettings,
        metrics: Metrics,
        arrived: Callable[[], Mapping[int, int]] = dict,
    ) -> None:
        self._index = index
        self._metrics = metrics
        self._topic = settings.topic_name(TEMPLATE_COADDS)
        self._settings = settings
        self._asking: AIOKafkaConsumer | None = None
        self._arrived = arrived
        self._served: dict[int, int] = {}
        self._lock = asyncio.Lock()
        self._places: tuple[TopicPartition, ...] = ()
        self._places_known = float("-inf")
        self._next: dict[TopicPartition, int] = {}
        self._advanced = asyncio.Condition()
        self._started = asyncio.Event()
        self._log = structlog.get_logger(__name__)

    async def follow(self) -> None:
        """Read from the start of the topic and go on until cancelled.

        Raises
        ------
        LookupError
            The topic does not exist.
        """
        # A broker answers one request of a connection at a time: behind the consumer's waiting
        # fetch, the question for the end would take half a second.
        async with consumer(self._settings) as reader, consumer(self._settings) as self._asking:
            await self._refresh()
            if not self._places:
                raise LookupError(f"topic {self._topic} does not exist; create it")
            self._started.set()
            assigned: tuple[TopicPartition, ...] = ()
            while True:
                await self._refresh()
                places = self._places
                if places != assigned or any(p not in self._next for p in places):
                    await self._assign(reader, places)
                    assigned = places
                if places:
                    await self._read_once(reader, places)
                else:
                    await asyncio.sleep(_PARTITIONS_SECONDS)

    async def catch_up(self, place: tuple[int, int] | None = None) -> None:
        """Wait until every template sent before an arrival is in the index.

        So an arrival that was sent after its templates always finds them, whatever partition
        they are in. While the broker or the topic is away this waits: an outage heals by itself,
        and a new start would not be quicker.

        Parameters
        ----------
        place
            Partition and offset of the arrival; `None` for one that comes now. Of a backlog the
            first asks the broker for all that were there when it asked.
        """
        await self._started.wait()
        if place is not None and place[1] < self._served.get(place[0], 0):
            return
        # Before the question: whatever lies below is older than the answer.
        arrived = dict(self._arrived())
        ends = await self._ends()
        while ends is None:
            await asyncio.sleep(1.0)
            ends = await self._ends()
        async with self._advanced:
            await self._advanced.wait_for(
                lambda: all(self._next.get(p, -1) >= end for p, end in ends.items())
            )
        self._served = arrived

    async def _ends(self) -> Mapping[TopicPartition, int] | None:
        assert self._asking is not None
        try:
            # Each time: a template may lie in a partition that was added a moment ago.
            await self._refresh(oldest=0.0)
            if not self._places:
                self._log.error("template_topic_missing", topic=self._topic)
                return None
            ends: dict[TopicPartition, int] = await self._asking.end_offsets(self._places)
        except KafkaError as e:
            self._log.warning("template_topic_silent", error=repr(e))
            return None
        behind = [p.partition for p, end in ends.items() if end < self._next.get(p, 0)]
        if behind:
            self._log.error("template_topic_made_anew", topic=self._topic, partitions=behind)
            self._begin_anew()
        return ends

    async def _refresh(self, oldest: float = _PARTITIONS_SECONDS) -> None:
        async with self._lock:
            if time.monotonic() - self._places_known < oldest:
                return
            partitions = await topic_partitions(self._asking, self._topic)
            places = tuple(TopicPartition(self._topic, p) for p in partitions)
            self._places_known = time.monotonic()
            if places == self._places:
                return
            if self._places:
                self._log.warning("template_partitions", was=len(self._places), now=len(places))
            if not places or len(places) < len(self._places):
                # Partitions of a topic are never taken away: it was deleted.
                self._begin_anew()
            self._places = places

    def _begin_anew(self) -> None:
        self._next.clear()
        self._served.clear()
        self._index.clear()

    async def _assign(self, reader: AIOKafkaConsumer, places: tuple[TopicPartition, ...]) -> None:
        reader.assign(list(places))
        for place in places:
            if place in self._next:
                reader.seek(place, self._next[place])
            else:
                self._next[place] = 0
                await reader.seek_to_beginning(place)

    async def _read_once(
        self, reader: AIOKafkaConsumer, places: tuple[TopicPartition, ...]
    ) -> None:
        found = await reader.getmany(timeout_ms=200)
        if any(place not in self._next for place in places):
            # It is to be read anew: what was on its way is of the old topic.
            return
        for records in found.values():
            for record in map(incoming, records):
                try:
                    self._index.apply(record)
                except ResiduaError as e:
                    # The catalog consumer sends it to the dead letters, once.
                    self._log.warning("template_ignored", message=e.message)
        for place in places:
            self._next[place] = await reader.position(place)
        self._metrics.templates(len(self._index))
        async with self._advanced:
            self._advanced.notify_all()
