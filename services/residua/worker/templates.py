"""The template coadds in force, read from the compacted topic ``template-coadds``."""

import asyncio
from collections.abc import Sequence
from typing import override

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from residua.errors import ResiduaError
from residua.messaging.client import consumer, topic_partitions
from residua.messaging.events import IncomingRecord, incoming, parse_event
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics
from residua.ports import TemplateIndex
from residua.worker.template_shelf import TemplateShelf
from residua_schemas import TEMPLATE_COADDS, SkyPolygon, TemplateCoadd

__all__ = ["TemplateFollower", "Templates"]


class Templates(TemplateIndex):
    """An index in memory: the newest record under a key is in force, a tombstone withdraws it.

    Parameters
    ----------
    template_set
        The set that is served; others are ignored.
    """

    def __init__(self, template_set: str) -> None:
        self._template_set = template_set
        self._shelf = TemplateShelf()

    def __len__(self) -> int:
        return len(self._shelf)

    def apply(self, record: IncomingRecord) -> None:
        """Take in one record; what cannot be read changes nothing.

        Raises
        ------
        residua.errors.ResiduaError
            It is no template coadd.
        """
        if record.is_tombstone:
            self._shelf.drop(record.key or b"")
            return
        template = parse_event(record, TemplateCoadd.model_validate_json, "template coadd")
        if template.template_set == self._template_set:
            self._shelf.put(record.key or template.key, template, record.value)

    @override
    def candidates(self, band: str, region: SkyPolygon | None) -> Sequence[TemplateCoadd]:
        return self._shelf.candidates(band, region)

    @override
    def count(self, band: str) -> int:
        return self._shelf.count(band)


class TemplateFollower:
    """Keeps `Templates` abreast of the topic, outside any consumer group.

    Parameters
    ----------
    index
        The index to feed.
    settings
        How to reach Kafka.
    metrics
        Where the number of templates is shown.
    """

    def __init__(self, index: Templates, settings: KafkaSettings, metrics: Metrics) -> None:
        self._index = index
        self._metrics = metrics
        self._topic = settings.topic_name(TEMPLATE_COADDS)
        self._settings = settings
        self._ends: AIOKafkaConsumer | None = None
        self._places: list[TopicPartition] = []
        self._next: dict[TopicPartition, int] = {}
        self._advanced = asyncio.Condition()
        self._started = asyncio.Event()
        self._log = structlog.get_logger(__name__)

    async def follow(self) -> None:
        """Read from the start of the topic and go on until cancelled."""
        # A broker answers one request of a connection at a time: behind the consumer's waiting
        # fetch, the question for the end would take half a second.
        async with consumer(self._settings) as reader, consumer(self._settings) as self._ends:
            partitions = await topic_partitions(reader, self._topic)
            self._places = [TopicPartition(self._topic, p) for p in partitions]
            if not self._places:
                raise LookupError(f"topic {self._topic} does not exist; create it")
            reader.assign(self._places)
            await reader.seek_to_beginning(*self._places)
            self._started.set()
            while True:
                await self._read_once(reader)

    async def catch_up(self) -> None:
        """Wait until every template sent before this call is in the index.

        So an arrival that was sent after its templates always finds them. While the broker is
        away this waits: an outage heals by itself, and a new start would not be quicker.
        """
        await self._started.wait()
        assert self._ends is not None
        while True:
            try:
                ends = await self._ends.end_offsets(self._places)
                break
            except KafkaError as e:
                self._log.warning("template_topic_silent", error=repr(e))
                await asyncio.sleep(1.0)
        async with self._advanced:
            await self._advanced.wait_for(
                lambda: all(self._next.get(p, 0) >= end for p, end in ends.items())
            )

    async def _read_once(self, reader: AIOKafkaConsumer) -> None:
        for records in (await reader.getmany(timeout_ms=200)).values():
            for record in map(incoming, records):
                try:
                    self._index.apply(record)
                except ResiduaError as e:
                    # The catalog consumer sends it to the dead letters, once.
                    self._log.warning("template_ignored", message=e.message)
        for place in self._places:
            self._next[place] = await reader.position(place)
        self._metrics.templates(len(self._index))
        async with self._advanced:
            self._advanced.notify_all()
