"""Traces: a visit-detector's life from its producer to its row, as W3C trace context tells it.

The context travels in the CloudEvents headers ``ce_traceparent`` and ``ce_tracestate``; a
producer's own ``traceparent`` is taken as well. Spans are made where `configure_tracing` was given
an address (RESIDUA_TRACES_ENDPOINT); elsewhere the context is passed on as it came.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import structlog

from residua.extras import require
from residua.settings import ServiceSettings
from residua.telemetry.stages import Stage

__all__ = [
    "annotate",
    "configure_tracing",
    "publishing",
    "record_batch",
    "record_stages",
    "span",
    "trace_headers",
]

type Headers = Sequence[tuple[str, bytes | None]]
type Kind = Literal["CONSUMER", "PRODUCER", "INTERNAL"]

_PARENT, _STATE = "ce_traceparent", "ce_tracestate"
_NONE: tuple[tuple[str, bytes], ...] = ()
_carried: ContextVar[tuple[tuple[str, bytes], ...]] = ContextVar("carried", default=_NONE)
_tracers: list[Any] = []


def configure_tracing(settings: ServiceSettings, service: str, exporter: Any = None) -> None:
    """Send spans where the settings say; without an address nothing is imported and none made.

    Parameters
    ----------
    service
        Name of the service, ``service.name`` of its spans.
    exporter
        An OpenTelemetry `SpanExporter` instead, each span at once: for tests.

    Raises
    ------
    residua.extras.MissingExtraError
        There is an address, and the extra ``tracing`` is not installed.
    """
    _tracers.clear()
    if exporter is None and settings.traces_endpoint is None:
        return
    require("tracing", "RESIDUA_TRACES_ENDPOINT")
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    from residua import __version__

    names = {"service.name": f"residua-{service}", "service.version": __version__}
    sampler = ParentBased(TraceIdRatioBased(settings.traces_ratio))
    provider = TracerProvider(resource=Resource.create(names), sampler=sampler)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        otlp = OTLPSpanExporter(endpoint=settings.traces_endpoint)
        provider.add_span_processor(BatchSpanProcessor(otlp))
    _tracers.append(provider.get_tracer("residua"))


@contextmanager
def span(
    name: str,
    headers: Headers = (),
    *,
    kind: Kind = "INTERNAL",
    said: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Do something within a trace: that of the headers, else the one under way, else a new one.

    Log lines meanwhile have its ``trace_id``.

    Parameters
    ----------
    headers
        Of the record it is about.
    said
        What the span says; what is `None` it leaves out.
    """
    given = _given(headers)
    if not _tracers:
        with _carrying(given or _carried.get()):
            yield
        return
    from opentelemetry import trace

    parent = _context(given) if given else None
    with (
        _tracers[0].start_as_current_span(
            name, context=parent, kind=trace.SpanKind[kind], attributes=_said(said or {})
        ) as begun,
        _carrying(_injected(trace.set_span_in_context(begun))),
    ):
        yield


def annotate(said: Mapping[str, Any]) -> None:
    """Add to what the span under way says."""
    if _tracers:
        from opentelemetry import trace

        trace.get_current_span().set_attributes(_said(said))


def trace_headers() -> tuple[tuple[str, bytes], ...]:
    """Headers of the trace under way, for a record that is sent within it; empty outside one."""
    return _carried.get()


@contextmanager
def publishing(topic: str) -> Iterator[None]:
    """Make a record to be sent: within the trace under way, or the first of a new one."""
    if _carried.get() or not _tracers:
        yield
        return
    said = {"messaging.system": "kafka", "messaging.destination.name": topic}
    with span(f"{topic} publish", kind="PRODUCER", said=said):
        yield


def record_stages(stages: Iterable[Stage]) -> None:
    """Add stages that another process has timed to the trace under way."""
    if not _tracers:
        return
    for stage in stages:
        begin = round(stage.begin * 1e9)
        done = _tracers[0].start_span(stage.name, start_time=begin)
        done.end(begin + round(stage.seconds * 1e9))


def record_batch(
    service: str, records: Iterable[tuple[str, Headers, str | None]], seconds: float
) -> None:
    """Add to the trace of each record that it was written, now, in one batch with the others.

    Parameters
    ----------
    records
        Topic and headers of each, and why it was refused, if it was.
    seconds
        How long writing took.
    """
    if not _tracers:
        return
    from opentelemetry import trace

    found = list(records)
    end = time.time_ns()
    begin = end - round(seconds * 1e9)
    for topic, headers, error in found:
        given = _given(headers)
        if not given:
            continue
        done = _tracers[0].start_span(
            f"{topic} {service}",
            context=_context(given),
            kind=trace.SpanKind.CONSUMER,
            start_time=begin,
            attributes=_said(
                {
                    "messaging.system": "kafka",
                    "messaging.destination.name": topic,
                    "messaging.batch.message_count": len(found),
                }
            ),
        )
        if error is not None:
            done.set_status(trace.StatusCode.ERROR, error)
        done.end(end)


@contextmanager
def _carrying(headers: tuple[tuple[str, bytes], ...]) -> Iterator[None]:
    parts = next((v.split(b"-") for n, v in headers if n == _PARENT), [])
    names = {"trace_id": parts[1].decode(errors="replace")} if len(parts) == 4 else {}
    token = _carried.set(headers)
    try:
        with structlog.contextvars.bound_contextvars(**names):
            yield
    finally:
        _carried.reset(token)


def _given(headers: Headers) -> tuple[tuple[str, bytes], ...]:
    """Trace context of a record: the hop's own before the one the event began with."""
    known = {name: value for name, value in headers if value is not None}
    for prefix in ("", "ce_"):
        if f"{prefix}traceparent" in known:
            found = [(_PARENT, known[f"{prefix}traceparent"])]
            if f"{prefix}tracestate" in known:
                found.append((_STATE, known[f"{prefix}tracestate"]))
            return tuple(found)
    return _NONE


def _context(given: tuple[tuple[str, bytes], ...]) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # What is no trace context is passed over: the span then begins a trace of its own.
    carrier = {n.removeprefix("ce_"): v.decode("ascii", errors="replace") for n, v in given}
    return TraceContextTextMapPropagator().extract(carrier)


def _injected(context: Any) -> tuple[tuple[str, bytes], ...]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return tuple((f"ce_{name}", value.encode()) for name, value in carrier.items())


def _said(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
