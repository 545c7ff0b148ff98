"""Follows the topic ``recreation-requests``, while the night leaves time for it."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from residua.errors import (
    MalformedEventError,
    SubtractionTimeoutError,
    TransientError,
    UnreadableRecordError,
    UnsupportedVersionError,
    WorkerCrashError,
)
from residua.messaging.batches import bury
from residua.messaging.client import consumer, producer, traced_record
from residua.messaging.records.events import IncomingRecord, incoming, parse_event
from residua.metrics import Metrics
from residua.retries import begun_anew, tries
from residua.worker.recreating.in_child import Remade, recreate_in_child
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.subtraction_process import SubtractionProcess
from residua.worker.watchdog import SignsOfLife
from residua_schemas import (
    DEAD_LETTERS,
    RECREATION_ANSWERS,
    RECREATION_REQUESTS,
    RecreationAnswer,
    RecreationRequest,
)

__all__ = ["RequestFollower"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_LOOK_SECONDS = 0.2
_YEAR_MS = 365 * 86_400_000
SOURCE = "/residua/worker"


class RequestFollower:
    """Makes images again that somebody waits for, one at a time, arrivals first.

    A request is begun while this worker has no arrival in hand and none waits in its partitions;
    an arrival that comes then waits for that one image, and for no more. One that nobody waits for
    any more (``valid_until``) is passed over.

    The guarantee: a request that is valid when its turn comes is answered at least once, ``made``
    after its file lies whole at its shared place, or ``failed``; its offset is committed after
    that. A worker that is killed in between leaves the request to the next one, which finds the
    file or makes it: the same bytes under the same name, put if absent. Requests of one image lie
    in one partition, so that it is made once whoever asks how often.

    Workers of all runs that write under one root share the requests, in a group of that root; what
    lies under another root is left to those of that one.

    Parameters
    ----------
    settings
        Topics and roots.
    pool
        Where images are made.
    signs
        Whether there is time.
    folder
        Where files are made before they are put; removed by whoever removes its parent.
    metrics
        Where it is counted.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        pool: SubtractionProcess,
        signs: SignsOfLife,
        folder: Path,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._signs = signs
        self._folder = folder
        self._metrics = metrics
        self._log = structlog.get_logger(__name__)

    def idle(self) -> bool:
        """Whether nothing of the night's is in hand or waits."""
        return self._signs.in_hand_since is None and self._signs.waiting == 0

    async def follow(self) -> None:
        """Follow until cancelled; after an error, begin anew where the last commit was."""
        if self._settings.recreate:
            await begun_anew(
                self._follow,
                lambda e, pause: self._log.warning(
                    "requests_interrupted", error=repr(e)[:300], pause=pause
                ),
                first_pause=_FIRST_PAUSE,
                longest_pause=_LONGEST_PAUSE,
            )

    async def _follow(self) -> None:
        settings = self._settings
        async with (
            consumer(
                settings,
                group_id=_group(settings.output_root),
                # A request may wait for the end of the night.
                max_poll_interval_ms=_YEAR_MS,
                max_poll_records=1,
            ) as client,
            producer(settings) as sender,
        ):
            client.subscribe([settings.topic_name(RECREATION_REQUESTS)])
            while True:
                found = await client.getmany(timeout_ms=1000, max_records=1)
                for record in (incoming(r) for records in found.values() for r in records):
                    await self.take(record, sender)
                    await _commit(client, record)

    async def take(self, record: IncomingRecord, sender: AIOKafkaProducer) -> None:
        """Answer one request, or pass it over."""
        try:
            request = parse_event(
                record, RecreationRequest.model_validate_json, "recreation request"
            )
        except (MalformedEventError, UnreadableRecordError, UnsupportedVersionError) as e:
            self._metrics.recreation("refused")
            topic = self._settings.topic_name(DEAD_LETTERS)
            await bury(sender, topic, [(record, e)], self._metrics, "worker")
            return
        made = await self._made(request, record, sender)
        if made is None:
            self._metrics.recreation("expired")
            return
        if made.kind == "elsewhere":
            self._metrics.recreation("elsewhere")
            return
        state = "made" if made.kind == "made" else "failed"
        self._metrics.recreation(state if made.error is None else made.error)
        self._log.info(
            "recreation",
            dataset_id=str(request.outcome.dataset_id),
            state=state,
            error=made.error,
            message=made.message,
        )
        answer = _answer(request, record).model_copy(
            update={"state": state, "error": made.error, "message": made.message}
        )
        await self._say(answer, sender)

    async def _made(
        self, request: RecreationRequest, record: IncomingRecord, sender: AIOKafkaProducer
    ) -> Remade | None:
        """Wait until there is time, and make the image; `None` when nobody waits any more."""
        call = partial(recreate_in_child, self._settings, self._folder, request.outcome)
        silent = Remade("transient", "TransientError", "no try was made")
        said = False
        pauses = tries(self._settings.transient_attempts, self._settings.transient_pause)
        for _, pause in pauses:
            made: Remade | None = None
            while made is None:
                if datetime.now(UTC) >= request.valid_until:
                    return None
                if not self.idle():
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                if not said:
                    await self._say(_answer(request, record), sender)
                    said = True
                made = await self._try(call)
            if made.kind != "transient":
                return made
            silent = made
            if pause is not None:
                await asyncio.sleep(pause)
        return silent

    async def _try(self, call: Callable[[], Remade]) -> Remade | None:
        try:
            return await self._pool.spare(self.idle, call)
        except (SubtractionTimeoutError, WorkerCrashError) as e:
            return Remade("failed", type(e).__name__, e.message)
        except TransientError as e:
            return Remade("transient", type(e).__name__, str(e))

    async def _say(self, answer: RecreationAnswer, sender: AIOKafkaProducer) -> None:
        topic = self._settings.topic_name(RECREATION_ANSWERS)
        record = traced_record(topic, answer, answer.key, source=SOURCE)
        await sender.send_and_wait(
            topic, key=record.key, value=record.value, headers=list(record.headers)
        )


def _group(output_root: str) -> str:
    """Name the group of all workers that write under one root, of whatever run."""
    digest = hashlib.sha256(output_root.rstrip("/").encode()).hexdigest()[:12]
    return f"residua-recreation-{digest}"


def _answer(request: RecreationRequest, record: IncomingRecord) -> RecreationAnswer:
    return RecreationAnswer(
        request_id=request.request_id,
        dataset_id=request.outcome.dataset_id,
        state="making",
        partition=record.partition,
        offset=record.offset,
    )


async def _commit(client: AIOKafkaConsumer, record: IncomingRecord) -> None:
    place = TopicPartition(record.topic, record.partition)
    try:
        await client.commit({place: record.offset + 1})
    except (CommitFailedError, IllegalStateError):
        # Another has the partition now, and repeats the request: it finds the file.
        structlog.get_logger(__name__).info("request_repeated", partition=place.partition)
