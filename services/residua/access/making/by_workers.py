"""Whole images asked of the subtraction workers, over Kafka; their files lie under the output root.

The file is the answer: it lies whole under its own name, or not at all. What workers say on
``recreation-answers`` tells how far they are and why an image cannot be made; where that is lost,
the file is found all the same a few seconds later.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any
from uuid import UUID, uuid4

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from lsst.resources import ResourcePath
from pydantic import ValidationError

from residua.access.making.maker import MakingError, Progress, name_of
from residua.access.settings import AccessSettings
from residua.errors import ResiduaError, TransientError
from residua.messaging.client import consumer, producer, topic_partitions, traced_record
from residua.storage.objects import attempt
from residua_schemas import (
    RECREATION_ANSWERS,
    RECREATION_REQUESTS,
    DifferenceImageCreated,
    RecreationAnswer,
    RecreationRequest,
)

__all__ = ["MadeByWorkers"]

_SOURCE = "/residua/access"
_LOOK_SECONDS = 5.0
_PARTITIONS_SECONDS = 10.0
_NAMES_KEPT = 10_000
_log = structlog.get_logger(__name__)


@dataclass
class _Asked:
    """A request that is not answered yet."""

    progress: Progress
    answer: asyncio.Future[RecreationAnswer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    partition: int | None = None
    offset: int = 0
    begun: bool = False


class MadeByWorkers:
    """Sends requests, and waits for files.

    The Kafka clients are opened with the first request, and again after an outage; requests that
    were sent before go on.

    Parameters
    ----------
    settings
        How to reach Kafka, how long to wait, where files were moved to.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._asked: dict[UUID, _Asked] = {}
        # Both are used by threads of requests.
        self._known: dict[str, None] = {}
        self._knowing = Lock()
        self._sender: AIOKafkaProducer | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def kept(self, row: Mapping[str, Any], *, surely: bool) -> ResourcePath | None:
        """Return where an image lies that was made lately, see `Maker`."""
        name = name_of(row)
        if not surely and name not in self._known:
            return None
        with suppress(ResiduaError):
            place = self._place(row)
            if attempt(place, place.exists):
                self._know(name)
                return place
        with self._knowing:
            self._known.pop(name, None)
        return None

    async def make(self, row: Mapping[str, Any], progress: Progress) -> ResourcePath:
        """Ask for an image and wait for its file, see `Maker`."""
        place = await asyncio.to_thread(self._place, row)
        seconds = self._settings.async_seconds
        request = RecreationRequest(
            request_id=uuid4(),
            outcome=DifferenceImageCreated.model_validate(row["event"]),
            valid_until=datetime.now(UTC) + timedelta(seconds=seconds),
        )
        asked = _Asked(progress)
        self._asked[request.request_id] = asked
        progress("asked of the workers")
        try:
            await self._send(request, asked)
            while datetime.now(UTC) < request.valid_until:
                done, _ = await asyncio.wait({asked.answer}, timeout=_LOOK_SECONDS)
                if done and asked.answer.result().state == "failed":
                    _raise(asked.answer.result())
                if await asyncio.to_thread(attempt, place, place.exists):
                    self._know(name_of(row))
                    return place
                if done:
                    raise TransientError(f"{place} was made, and is not there")
        finally:
            del self._asked[request.request_id]
        raise TransientError(f"no worker made {place} in {seconds:g} s")

    async def stop(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _place(self, row: Mapping[str, Any]) -> ResourcePath:
        # At run time: it loads numba.
        from residua.recreation.shared import shared_place

        created = DifferenceImageCreated.model_validate(row["event"])
        return shared_place(created, self._settings.moved_roots)

    def _know(self, name: str) -> None:
        with self._knowing:
            self._known[name] = None
            if len(self._known) > _NAMES_KEPT:
                del self._known[next(iter(self._known))]

    async def _send(self, request: RecreationRequest, asked: _Asked) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        try:
            await asyncio.wait_for(self._ready.wait(), self._settings.sync_seconds)
        except TimeoutError as e:
            raise TransientError("the brokers do not answer") from e
        if self._sender is None:
            raise TransientError("the brokers were lost just now")
        topic = self._settings.topic_name(RECREATION_REQUESTS)
        record = traced_record(topic, request, request.key, source=_SOURCE)
        try:
            told = await self._sender.send_and_wait(
                topic, key=record.key, value=record.value, headers=list(record.headers)
            )
        except KafkaError as e:
            raise TransientError(f"the request was not taken: {e!r}") from e
        asked.partition, asked.offset = told.partition, told.offset

    async def _serve(self) -> None:
        """Keep the clients open, and take answers in, until cancelled."""
        while True:
            try:
                async with self._clients() as reader:
                    await self._listen(reader)
            except Exception as e:  # noqa: BLE001 nobody else would open them again, or say why
                _log.warning("recreation_brokers_silent", error=repr(e)[:200])
            await asyncio.sleep(1.0)

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[AIOKafkaConsumer]:
        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(consumer(self._settings))
            self._sender = await stack.enter_async_context(producer(self._settings))
            try:
                yield reader
            finally:
                self._ready.clear()
                self._sender = None

    async def _listen(self, reader: AIOKafkaConsumer) -> None:
        topic = self._settings.topic_name(RECREATION_ANSWERS)
        loop = asyncio.get_running_loop()
        places: list[TopicPartition] = []
        looked = float("-inf")
        while True:
            if loop.time() - looked > _PARTITIONS_SECONDS:
                looked = loop.time()
                found = [TopicPartition(topic, p) for p in await topic_partitions(reader, topic)]
                added = [place for place in found if place not in places]
                if added:
                    ends = await reader.end_offsets(added)
                    held = {place: await reader.position(place) for place in places}
                    reader.assign(found)
                    for place, offset in (*held.items(), *ends.items()):
                        reader.seek(place, offset)
                    places = found
                if not places:
                    _log.warning("topic_missing", topic=topic, remedy="start a worker of 1.6")
                    await asyncio.sleep(1.0)
                    looked = float("-inf")
                    continue
                self._ready.set()
            for records in (await reader.getmany(timeout_ms=500)).values():
                for record in records:
                    with suppress(ValidationError):
                        self._take(RecreationAnswer.model_validate_json(record.value or b""))

    def _take(self, answer: RecreationAnswer) -> None:
        asked = self._asked.get(answer.request_id)
        if asked is not None:
            if answer.state == "making":
                asked.begun = True
                asked.progress("being made")
            elif not asked.answer.done():
                asked.answer.set_result(answer)
        for other in self._asked.values():
            if other.partition == answer.partition and not other.begun:
                before = other.offset - answer.offset - (answer.state != "making")
                if before >= 0:
                    other.progress(f"waiting: at most {before} requests before it in its line")


def _raise(answer: RecreationAnswer) -> None:
    message = answer.message or ""
    if answer.error in {"TransientError", None}:
        raise TransientError(message)
    raise MakingError(message, answer.error)
