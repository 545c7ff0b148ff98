"""The lane of announced visits: their templates are fetched before their pixels arrive.

It has a consumer of its own outside any group, acknowledges nothing, publishes no outcome, and
nothing that happens here ends the worker or holds an arrival up. What is missed costs the time
of a read. The topic is optional.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from typing import Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from residua.errors import (
    MalformedEventError,
    ResiduaError,
    UnreadableRecordError,
    UnsupportedVersionError,
)
from residua.messaging.batches import bury
from residua.messaging.client import consumer, producer, topic_partitions
from residua.messaging.records.events import IncomingRecord, incoming, parse_event
from residua.metrics import Metrics
from residua.ports import TemplateIndex
from residua.retries import begun_anew
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.read_ahead import ReadAheadReport
from residua_schemas import (
    DEAD_LETTERS,
    NEXT_VISITS,
    VISIT_ARRIVALS,
    NextVisit,
    TemplateCoadd,
    VisitDetector,
)

__all__ = ["NextVisitFollower", "ReadsAhead"]

_MOST_EARLIER = 100
_PARTITIONS_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class ReadsAhead(Protocol):
    """Who fetches templates; see `worker.subtracting.subtraction_process`."""

    async def read_ahead(self, templates: tuple[TemplateCoadd, ...]) -> ReadAheadReport | None:
        """Have templates fetched, and hear about earlier ones; `None`: nobody is there."""
        ...


class NextVisitFollower:
    """Follows the topic ``next-visits`` while the worker has partitions.

    Parameters
    ----------
    settings
        Topics, and which announcements are taken.
    templates
        Templates in force.
    catch_up
        Waits until `templates` holds all that was sent before now.
    pool
        Who fetches them.
    owned
        Partitions of the arrivals' topic that this worker has now.
    metrics
        Where it is counted.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        templates: TemplateIndex,
        catch_up: Callable[[], Awaitable[None]],
        pool: ReadsAhead,
        owned: Callable[[], Collection[int]],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._templates = templates
        self._catch_up = catch_up
        self._pool = pool
        self._owned = owned
        self._metrics = metrics
        self._arrival_partitions: list[int] = []
        self._fetching = False
        self._log = structlog.get_logger(__name__)

    async def follow(self) -> None:
        """Follow until cancelled; after an error, begin anew.

        A bad announcement is counted, and sent to the dead letters by the worker that owns the
        arrivals' partition of the same number, so that one of them does it.
        """
        if self._settings.next_visits != "off":
            await begun_anew(
                self._follow,
                lambda e, pause: self._log.warning(
                    "next_visits_interrupted", error=repr(e)[:300], pause=pause
                ),
                first_pause=_FIRST_PAUSE,
                longest_pause=_LONGEST_PAUSE,
            )

    async def _follow(self) -> None:
        settings = self._settings
        while not self._owned():  # noqa: ASYNC110 faust has no event for it
            # A spare worker, or one that is about to get its partitions.
            await asyncio.sleep(0.5)
        await self._catch_up()
        async with consumer(settings) as client:
            topic = settings.topic_name(NEXT_VISITS)
            places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
            arrivals = settings.topic_name(VISIT_ARRIVALS)
            self._arrival_partitions = await topic_partitions(client, arrivals)
            if not places or not self._arrival_partitions:
                return
            client.assign(places)
            begins = await client.beginning_offsets(places)
            for place, end in (await client.end_offsets(places)).items():
                # Some of what was announced lately, for a worker that has just come back.
                client.seek(place, max(begins[place], end - _MOST_EARLIER))
            looked = time.monotonic()
            while True:
                found = await client.getmany(timeout_ms=500)
                for record in (r for records in found.values() for r in records):
                    await self.take(incoming(record))
                if self._fetching:
                    await self._fetch(())
                if time.monotonic() - looked > _PARTITIONS_SECONDS:
                    looked = time.monotonic()
                    self._arrival_partitions = await topic_partitions(client, arrivals)
                    if await topic_partitions(client, topic) != [p.partition for p in places]:
                        # Partitions were added: begin anew. What is announced twice costs nothing.
                        return

    async def take(self, record: IncomingRecord) -> None:
        """Take one announcement."""
        if time.time() - record.timestamp_ms / 1000.0 > self._settings.next_visit_age_limit:
            self._metrics.next_visit("stale")
            return
        try:
            visit = parse_event(record, NextVisit.model_validate_json, "next visit")
        except (MalformedEventError, UnreadableRecordError, UnsupportedVersionError) as e:
            self._metrics.next_visit("refused")
            await self._refuse(record, e)
            return
        if not self._is_ours(visit):
            self._metrics.next_visit("elsewhere")
            return
        candidates = tuple(self._templates.candidates(visit.band, visit.footprint))
        self._metrics.next_visit("taken" if candidates else "no_template")
        if candidates:
            await self._fetch(candidates)

    async def _fetch(self, candidates: tuple[TemplateCoadd, ...]) -> None:
        report = await self._pool.read_ahead(candidates)
        if report is None:
            self._fetching = False
            return
        counts = asdict(report)
        self._fetching = bool(counts.pop("waiting"))
        self._metrics.templates_read_ahead(**counts)

    async def _refuse(self, record: IncomingRecord, error: ResiduaError) -> None:
        places = self._arrival_partitions
        if not places or places[record.partition % len(places)] not in self._owned():
            return
        topic = self._settings.topic_name(DEAD_LETTERS)
        async with producer(self._settings) as sender:
            await bury(sender, topic, [(record, error)], self._metrics, "worker")

    def _is_ours(self, visit: NextVisit) -> bool:
        if self._settings.next_visits == "all" or visit.visit is None or not visit.detectors:
            # Nobody can tell who will get the arrivals.
            return True
        owned, place = self._owned(), DefaultPartitioner()
        identities = (
            VisitDetector(instrument=visit.instrument, visit=visit.visit, detector=detector)
            for detector in visit.detectors
        )
        places = self._arrival_partitions
        return any(place(identity.key, places, places) in owned for identity in identities)
