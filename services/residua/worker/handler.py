"""What the worker does with one record, whatever carries it: an outcome, or a dead letter."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Protocol

import structlog

from residua.errors import (
    InternalError,
    MalformedEventError,
    ResiduaError,
    SubtractionTimeoutError,
    TransientError,
    UnreadableRecordError,
    UnsupportedVersionError,
    WorkerCrashError,
)
from residua.identity import dataset_id, event_id
from residua.messaging.client import OutgoingRecord, traced_record
from residua.messaging.records.events import (
    REPLAY_HEADER,
    IncomingRecord,
    cost_headers,
    dead_letter,
    parse_event,
)
from residua.messaging.refusals import note_refusal
from residua.metrics import Metrics
from residua.outcomes import Outcome, failed
from residua.ports import TemplateIndex
from residua.replay.record_headers import (
    origin_header,
    place_of,
    replay_headers,
    run_label,
)
from residua.retries import tries
from residua.telemetry.tracing import annotate, record_stages
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import ChildAnswer
from residua.worker.watchdog import SignsOfLife
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    ArrivalPlace,
    DifferenceImageCreated,
    DifferenceImageFailed,
    TemplateCoadd,
    VisitArrival,
)

__all__ = ["SOURCE", "ArrivalHandler", "Pool"]

_MOST_UNCHOSEN = 64
"""Templates of a band that are handed over unchosen where an arrival does not say its region."""

SOURCE = "/residua/worker"
"""``ce_source`` of what the worker sends."""


class Pool(Protocol):
    """Where subtractions run; see `worker.subtracting.subtraction_process`."""

    async def run(
        self,
        arrival: VisitArrival,
        candidates: tuple[TemplateCoadd, ...] | None,
        place: ArrivalPlace,
        label: str | None = None,
    ) -> ChildAnswer:
        """Process one arrival, for the run of that label; see `SubtractionProcess.run`."""
        ...

    async def settle(self, failure: DifferenceImageFailed, place: ArrivalPlace) -> ChildAnswer:
        """Commit a failure before it is published, or find that it is none."""
        ...


@dataclass(frozen=True)
class ArrivalHandler:
    """From an arrival's record to the records to publish: same record in, same records out.

    Parameters
    ----------
    settings
        Run, topics and limits.
    pool
        Where subtractions run.
    templates
        Templates in force.
    catch_up
        Waits until `templates` holds all that was sent before now.
    confirm
        Returns when the arrival in hand is still ours, see `residua.worker.membership`.
    metrics
        Where it is counted.
    signs
        Where it is noted what is in hand.
    """

    settings: WorkerSettings
    pool: Pool
    templates: TemplateIndex
    catch_up: Callable[[], Awaitable[None]]
    confirm: Callable[[], Awaitable[None]]
    metrics: Metrics
    signs: SignsOfLife = field(default_factory=SignsOfLife)

    async def __call__(self, record: IncomingRecord) -> tuple[OutgoingRecord, ...]:
        """Handle one record.

        Returns
        -------
        records
            In the order in which they are to be sent: an arrival that is to be made again, if
            need be, then the outcome or dead letter.

        Raises
        ------
        TransientError
            A component did not answer, also when tried again, or the arrival is ours no more:
            exit, do not acknowledge.
        """
        log = structlog.get_logger(__name__).bind(
            topic=record.topic, partition=record.partition, offset=record.offset
        )
        try:
            arrival = parse_event(record, VisitArrival.model_validate_json, "visit arrival")
            label = run_label(record.headers)
        except (MalformedEventError, UnreadableRecordError, UnsupportedVersionError) as e:
            return (self._dead_letter(record, e),)
        run = self.settings.labelled(label).run.name
        identity = arrival.visit_detector
        self.signs.in_hand = identity
        replayed = any(n == REPLAY_HEADER and v is not None for n, v in record.headers)
        self.metrics.arrival(identity.instrument, replay=replayed)
        log = log.bind(
            instrument=identity.instrument,
            visit=identity.visit,
            detector=identity.detector,
            revision=arrival.revision,
            dataset_id=str(dataset_id(run, identity)),
        )
        place = place_of(record)
        answer = await self._answer(arrival, place, run, label, log)
        outcome = answer.outcome
        assert outcome is not None
        kind = outcome.outcome
        error = getattr(outcome, "error", getattr(outcome, "reason", ""))
        log.info(
            "outcome",
            outcome=kind,
            error=error or None,
            event_id=event_id(outcome, outcome.key),
            message=getattr(outcome, "message", None),
        )
        annotate(
            {
                "residua.run": run,
                "residua.visit_detector": str(identity),
                "residua.dataset_id": str(outcome.dataset_id),
                "residua.outcome": kind,
                "residua.error": error or None,
            }
        )
        published = traced_record(
            self.settings.topic_name(DIFFERENCE_IMAGES),
            outcome,
            outcome.key,
            source=SOURCE,
            time=record.time,
        )
        # Dashboards tell the outcome of a replay from one of the night.
        marks = [(n, v) for n, v in record.headers if n == REPLAY_HEADER and v is not None]
        outgoing = replace(
            published,
            headers=(*published.headers, *marks, *cost_headers(answer.cpu_seconds)),
            # What was never published was no outcome: it comes again.
            on_delivery=partial(self._count, outcome, arrival.band, replay=bool(marks)),
        )
        return (*self._healing(answer, label, log), outgoing)

    def _count(self, outcome: Outcome, band: str, *, replay: bool) -> None:
        self.metrics.outcome(
            outcome.outcome,
            getattr(outcome, "error", getattr(outcome, "reason", "")),
            responsible=getattr(outcome, "responsible", ""),
            instrument=outcome.visit_detector.instrument,
            band=band,
            run=outcome.run,
            replay=replay,
        )
        if isinstance(outcome, DifferenceImageCreated):
            quality = outcome.quality
            self.metrics.quality(
                band,
                sky_noise=quality.matched_filter_sn_std,
                pull=quality.pull_rms,
                detections=quality.detections_positive + quality.detections_negative,
                coverage=quality.coverage,
                psf_fwhm=outcome.psf_fwhm,
                limiting_magnitude=quality.limiting_magnitude,
                star_residual=quality.relative_residual,
            )
            if not replay:
                self.metrics.since_exposure(outcome.end_tai)

    def without_value(self, record: IncomingRecord, error: ResiduaError) -> OutgoingRecord:
        """Dead letter that names the record's place only, for one too large to be copied."""
        return self._dead_letter(record, error, whole=False)

    def _dead_letter(
        self, record: IncomingRecord, error: ResiduaError, *, whole: bool = True
    ) -> OutgoingRecord:
        note_refusal(record.topic, error, self.metrics)
        letter = dead_letter(record, error, service="worker", whole=whole)
        return traced_record(
            self.settings.topic_name(DEAD_LETTERS),
            letter,
            letter.record_key,
            source=SOURCE,
            time=record.time,
        )

    def _healing(
        self, answer: ChildAnswer, label: str | None, log: structlog.stdlib.BoundLogger
    ) -> tuple[OutgoingRecord, ...]:
        healing = answer.healing
        if healing is None:
            return ()
        # A duplicate had overtaken its original: another arrival is the newest after all.
        log.info("sent_again", remake=healing.arrival.remake)
        record = traced_record(
            self.settings.topic_name(VISIT_ARRIVALS),
            healing.arrival,
            healing.arrival.visit_detector.key,
            source=SOURCE,
        )
        marks = (*replay_headers("healing", label or ""), origin_header(healing.place))
        return (replace(record, headers=(*record.headers, *marks)),)

    async def _answer(
        self,
        arrival: VisitArrival,
        place: ArrivalPlace,
        run: str,
        label: str | None,
        log: structlog.stdlib.BoundLogger,
    ) -> ChildAnswer:
        try:
            await self.catch_up()
            region = arrival.region
            answer = None
            if region is None and self.templates.count(arrival.band) > _MOST_UNCHOSEN:
                # Too many to be sent to the child: it has the image, and knows where it lies.
                answer = await self._with_retries(arrival, None, place, label, log)
                region = answer.region
            if answer is None or (answer.kind == "outcome" and answer.outcome is None):
                asked = time.perf_counter()
                candidates = tuple(self.templates.candidates(arrival.band, region))
                self.metrics.template_lookup(time.perf_counter() - asked)
                answer = await self._with_retries(arrival, candidates, place, label, log)
        except (SubtractionTimeoutError, WorkerCrashError) as e:
            return await self._final(failed(arrival, run, e, e.responsible), place)
        self.metrics.template_reads(**asdict(answer.reads))
        self.metrics.cost(answer.cpu_seconds)
        self.metrics.stages(answer.stages)
        record_stages(answer.stages)
        if answer.outcome is None:
            log.error("unexpected_error", message=answer.message)
            error = InternalError(f"unexpected {answer.message}; please report it with this event")
            return await self._final(failed(arrival, run, error, error.responsible), place)
        return answer

    async def _final(self, failure: DifferenceImageFailed, place: ArrivalPlace) -> ChildAnswer:
        # A failure another try may not meet, and committed like any other outcome. The ledger
        # alone keeps us from contradicting another worker; that it has the arrival is asked so
        # that it may have success where we had none.
        await self.confirm()
        return await self.pool.settle(failure, place)

    async def _with_retries(
        self,
        arrival: VisitArrival,
        candidates: tuple[TemplateCoadd, ...] | None,
        place: ArrivalPlace,
        label: str | None,
        log: structlog.stdlib.BoundLogger,
    ) -> ChildAnswer:
        attempts = self.settings.transient_attempts
        for attempt, pause in tries(attempts, self.settings.transient_pause):
            answer = await self.pool.run(arrival, candidates, place, label)
            if answer.kind != "transient":
                return answer
            self.metrics.retry("TransientError")
            log.warning("component_silent", attempt=attempt, message=answer.message)
            if pause is not None:
                await asyncio.sleep(pause)
        raise TransientError(f"{answer.message} ({attempts} tries)")
