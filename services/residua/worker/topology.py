"""Looks, beside the work, at what the worker stands on: its topic, and its consumer group.

Whatever is found wrong ends the process with a line that names the cause; a new start begins
from what is there then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from residua.errors import ResiduaError
from residua.messaging.client import consumer, first_record_reader, topic_partitions
from residua.messaging.group import (
    SECONDS_BETWEEN_LOOKS,
    NamesakeWatch,
    OrphanWatch,
    OtherRunError,
    describe_group,
    other_run,
)
from residua.messaging.retention import LostRecords, first_readable
from residua.metrics import Metrics
from residua.worker.reading_on import PassedOverError, ReadingOn
from residua.worker.settings import WorkerSettings
from residua.worker.watchdog import SignsOfLife
from residua_schemas import VISIT_ARRIVALS

__all__ = ["TopicMadeAnewError", "TopologyWatch", "wait_for_other_run"]


class TopicMadeAnewError(Exception):
    """The topic of arrivals was deleted and made anew: its offsets begin again."""


async def wait_for_other_run(settings: WorkerSettings) -> None:
    """Look into the group before joining it, and wait for members of another run to leave it.

    So an upgrade that replaces workers one by one comes to its end: the new ones wait until the
    last of the old has gone.

    Raises
    ------
    OtherRunError
        Some are there after ``other_run_patience`` seconds.
    """
    deadline = time.monotonic() + settings.other_run_patience
    while True:
        try:
            return await refuse_other_run(settings)
        except OtherRunError as e:
            if time.monotonic() >= deadline:
                raise
            structlog.get_logger(__name__).error("waiting_for_other_run", message=e.message)
        await asyncio.sleep(min(30.0, max(1.0, settings.other_run_patience / 10.0)))


async def refuse_other_run(settings: WorkerSettings) -> None:
    """Look into the group.

    Raises
    ------
    OtherRunError
        It has members of another run.
    """
    group = await describe_group(settings, settings.consumer_group)
    other = other_run(group.members, settings.run.name)
    if other is not None:
        raise OtherRunError(
            f"the consumer group {settings.consumer_group!r} has a member of another run "
            f"({other.client_id.partition('@')[2]}, on {other.host}), this worker makes "
            f"{settings.run.name}: each would get a part of the arrivals. End all workers of the "
            "other run first, or set RESIDUA_CONSUMER_GROUP to a group of this run's own"
        )


class TopologyWatch:
    """Watches arrivals' topic and consumer group while the worker runs.

    Parameters
    ----------
    settings
        Topic, group, run.
    owned
        Partitions this worker has now.
    member_id
        Its id in the group, empty while it has none.
    join_anew
        Asks to join the group anew.
    signs
        Whether an arrival is in hand.
    metrics
        Where lost arrivals are counted.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        owned: Callable[[], Collection[int]],
        member_id: Callable[[], str],
        join_anew: Callable[[], None],
        signs: SignsOfLife,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._topic = settings.topic_name(VISIT_ARRIVALS)
        self._owned = owned
        self._member_id = member_id
        self._client: AIOKafkaConsumer | None = None
        self._reader: AIOKafkaConsumer | None = None
        self._open = asyncio.Event()
        self._asking = asyncio.Lock()
        self._signs = signs
        self._lost = LostRecords(self._topic, settings.consumer_group, self._offsets, metrics)
        self._reading = ReadingOn(self._topic, self._first_readable)
        self._orphans = OrphanWatch(join_anew)
        instance = settings.instance_id
        self._namesake = None if instance is None else NamesakeWatch(instance)

    async def note(self, partition: int, offset: int) -> None:
        """Take note of an arrival's record before it is handled.

        Raises
        ------
        residua.worker.reading_on.PassedOverError
            Another before it was passed over.
        """
        await self._open.wait()
        begin = await _patiently(lambda: self._lost.note(partition, offset))
        if begin < offset:
            try:
                await _patiently(lambda: self._reading.across(partition, begin, offset))
            except PassedOverError as e:
                _say(e)
                raise

    async def follow(self) -> None:
        """Watch until cancelled.

        Raises
        ------
        OtherRunError, residua.messaging.group.FencedError, TopicMadeAnewError, PassedOverError
            Found.
        """
        settings = self._settings
        # The first subscribes to nothing: it asks for the group's offsets and does not join it.
        async with (
            consumer(settings, group_id=settings.consumer_group) as self._client,
            first_record_reader(settings) as self._reader,
        ):
            self._open.set()
            while True:
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
                try:
                    await self._look()
                except (ResiduaError, TopicMadeAnewError, PassedOverError) as e:
                    _say(e)
                    raise

    async def _look(self) -> None:
        try:
            waiting = await self._look_at_topic()
            group = await describe_group(self._settings, self._settings.consumer_group)
            busy = self._signs.in_hand_since is not None or not group.is_stable
            await self._reading.look(waiting, busy=busy)
            assert self._client is not None
            partitions = await topic_partitions(self._client, self._topic)
        except KafkaError as e:
            structlog.get_logger(__name__).info("topology_unknown", error=repr(e)[:200])
            return
        if self._namesake is not None:
            self._namesake.look(group.members, self._member_id())
        self._orphans.look(group, [TopicPartition(self._topic, p) for p in partitions])
        other = other_run(group.members, self._settings.run.name)
        # Of two that joined at the same moment one must stay.
        if other is not None and other.client_id < self._settings.client_id:
            await refuse_other_run(self._settings)

    async def _look_at_topic(self) -> dict[int, tuple[int, int]]:
        """Return, by partition, the first offset that was not committed, and the end."""
        waiting: dict[int, tuple[int, int]] = {}
        for partition in sorted(self._owned()):
            begin = await self._lost.look(partition)
            expected = self._lost.expected(partition)
            place = TopicPartition(self._topic, partition)
            assert self._client is not None
            end = (await self._client.end_offsets([place]))[place]
            waiting[partition] = begin, end
            if expected is not None and end < expected:
                raise TopicMadeAnewError(
                    f"{self._topic}/{partition} ends at {end}, and {expected} was read: it was "
                    "deleted and made anew, or lost records. A new start reads it from its start"
                )
        return waiting

    async def _first_readable(self, partition: int, begin: int) -> int | None:
        assert self._reader is not None
        async with self._asking:
            return await first_readable(self._reader, TopicPartition(self._topic, partition), begin)

    async def _offsets(self, partition: int) -> tuple[int | None, int]:
        assert self._client is not None
        place = TopicPartition(self._topic, partition)
        first = (await self._client.beginning_offsets([place]))[place]
        return await self._client.committed(place), first


def _say(error: Exception) -> None:
    structlog.get_logger(__name__).critical(
        "worker_cannot_go_on", error=type(error).__name__, message=str(error)
    )


async def _patiently[T](ask: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await ask()
        except KafkaError as e:
            structlog.get_logger(__name__).info("offsets_unknown", error=repr(e)[:200])
            await asyncio.sleep(1.0)
