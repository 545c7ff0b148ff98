"""Traces: the life of one visit-detector, and what is passed on where nobody traces."""

import asyncio
import builtins
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from residua import extras
from residua.errors import CorruptFileError
from residua.extras import MissingExtraError
from residua.messaging.client import OutgoingRecord, event_record, traced_record
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.outcomes import Outcome, failed
from residua.settings import ServiceSettings
from residua.telemetry.stages import Stage, StageClock
from residua.telemetry.tracing import configure_tracing, record_batch, span, trace_headers
from residua.worker.handler import ArrivalHandler
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import ChildAnswer
from residua.worker.templates.in_force import Templates
from residua_schemas import VisitArrival
from residua_schemas.examples import examples

ARRIVAL = examples()[VisitArrival]
FOREIGN = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STATE = b"observatory=t61rcWkgMzE"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    configure_tracing(ServiceSettings(), "test", kept)
    yield kept
    configure_tracing(ServiceSettings(), "test")


class _Pool:
    """Answers as the child does: a failure, and how long its stages took."""

    async def run(self, arrival, candidates, place, label=None) -> ChildAnswer:
        outcome: Outcome = failed(arrival, "run", CorruptFileError("torn"), "producer")
        return ChildAnswer("outcome", outcome, stages=(Stage("read_visit_image", 1.0e9, 0.25),))

    async def settle(self, failure, place) -> ChildAnswer:
        raise AssertionError


async def _nothing() -> None:
    """All is known, and the arrival is ours."""


def _worker(metrics: Metrics) -> ArrivalHandler:
    settings = WorkerSettings(output_root="/tmp", metrics_port=0)
    return ArrivalHandler(settings, _Pool(), Templates("default"), _nothing, _nothing, metrics)


def _received(record: OutgoingRecord) -> IncomingRecord:
    return IncomingRecord(record.topic, 0, 7, record.key, record.value, 1_000, record.headers)


def _through_worker(record: OutgoingRecord, metrics: Metrics) -> OutgoingRecord:
    arrival = _received(record)
    with span("visit-arrivals process", arrival.headers, kind="CONSUMER"):
        [outgoing] = asyncio.run(_worker(metrics)(arrival))
    return outgoing


def _sent() -> OutgoingRecord:
    return traced_record("visit-arrivals", ARRIVAL, ARRIVAL.visit_detector.key, source="/test")


def test_one_visit_detectors_life_is_one_trace(exporter: InMemorySpanExporter):
    outcome = _through_worker(_sent(), Metrics())
    row = _received(outcome)
    record_batch("catalog", [(row.topic, row.headers, None)], 0.5)
    spans = {s.name: s for s in exporter.get_finished_spans()}
    assert set(spans) == {
        "visit-arrivals publish",
        "visit-arrivals process",
        "read_visit_image",
        "difference-images catalog",
    }
    assert len({s.context.trace_id for s in spans.values()}) == 1
    producer, worker = spans["visit-arrivals publish"], spans["visit-arrivals process"]
    assert producer.parent is None
    assert worker.parent.span_id == producer.context.span_id
    for name in ("read_visit_image", "difference-images catalog"):
        assert spans[name].parent.span_id == worker.context.span_id
    assert worker.attributes["residua.visit_detector"] == str(ARRIVAL.visit_detector)
    assert worker.attributes["residua.error"] == "CorruptFileError"
    assert _seconds(spans["read_visit_image"]) == pytest.approx(0.25)
    assert _seconds(spans["difference-images catalog"]) == pytest.approx(0.5)


def _seconds(done: ReadableSpan) -> float:
    return (done.end_time - done.start_time) / 1e9


@pytest.mark.parametrize("name", ["traceparent", "ce_traceparent"])
def test_a_producers_own_trace_is_gone_on_with(name: str, exporter: InMemorySpanExporter):
    plain = event_record("visit-arrivals", ARRIVAL, ARRIVAL.visit_detector.key, source="/x")
    headers = (*plain.headers, (name, FOREIGN))
    outcome = _through_worker(
        OutgoingRecord("visit-arrivals", b"", plain.value, headers), Metrics()
    )
    assert dict(outcome.headers)["ce_traceparent"].split(b"-")[1] == FOREIGN.split(b"-")[1]
    worker = exporter.get_finished_spans()[-1]
    assert f"{worker.parent.span_id:016x}".encode() == FOREIGN.split(b"-")[2]


def test_a_header_that_is_no_trace_context_begins_a_new_trace(exporter: InMemorySpanExporter):
    with span("process", [("traceparent", b"\xff nonsense")]):
        assert len(dict(trace_headers())["ce_traceparent"].split(b"-")[1]) == 32


def test_a_record_that_was_refused_says_so_in_its_trace(exporter: InMemorySpanExporter):
    record_batch("catalog", [("difference-images", [("traceparent", FOREIGN)], "torn")], 0.1)
    [done] = exporter.get_finished_spans()
    assert (done.status.status_code.name, done.status.description) == ("ERROR", "torn")


def test_without_tracing_the_context_is_passed_on_as_it_came():
    plain = event_record("visit-arrivals", ARRIVAL, ARRIVAL.visit_detector.key, source="/x")
    came = (("ce_traceparent", FOREIGN), ("ce_tracestate", STATE))
    record = OutgoingRecord("visit-arrivals", b"", plain.value, (*plain.headers, *came))
    outcome = _through_worker(record, Metrics())
    assert [h for h in outcome.headers if h[0].startswith("ce_trace")] == list(came)
    assert trace_headers() == ()


def test_without_tracing_nothing_of_opentelemetry_is_imported(monkeypatch: pytest.MonkeyPatch):
    known = builtins.__import__

    def refuse(name, *args, **kwargs):
        assert not name.startswith("opentelemetry"), name
        return known(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    configure_tracing(ServiceSettings(), "worker")
    outcome = _through_worker(_sent(), Metrics())
    record_batch("catalog", [("difference-images", outcome.headers, None)], 0.1)
    assert not any(name.startswith("ce_trace") for name, _ in outcome.headers)


def test_the_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extras, "_is_there", lambda name: not name.startswith("opentelemetry"))
    extras._missing.cache_clear()
    try:
        with pytest.raises(MissingExtraError) as caught:
            configure_tracing(ServiceSettings(traces_endpoint="http://collector:4318"), "worker")
    finally:
        extras._missing.cache_clear()
    assert "\n" not in str(caught.value)
    assert "RESIDUA_TRACES_ENDPOINT" in str(caught.value)
    assert "pip install 'residua[tracing]'" in str(caught.value)


def test_stages_are_counted_by_name_also_of_what_fails():
    clock, metrics = StageClock(), Metrics()
    with clock("read_visit_image"):
        pass
    with pytest.raises(ZeroDivisionError), clock("subtract"):
        _ = 1 / 0
    metrics.stages(clock.take())
    assert clock.take() == ()
    for name in ("read_visit_image", "subtract"):
        count = metrics.registry.get_sample_value("residua_stage_seconds_count", {"stage": name})
        assert count == 1.0
