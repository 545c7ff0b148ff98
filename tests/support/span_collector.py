"""An OTLP collector for tests: takes spans over HTTP from real processes and keeps them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Span", "SpanCollector", "collecting_spans"]


@dataclass(frozen=True)
class Span:
    """A span as it was sent.

    Parameters
    ----------
    service
        ``service.name`` of the process.
    said
        Its attributes.
    """

    service: str
    name: str
    trace: str
    span: str
    parent: str
    said: dict[str, str]


class SpanCollector:
    """What was sent so far, and where to send it."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}/v1/traces"
        self._spans: list[Span] = []

    def take(self, body: bytes) -> None:
        """Keep the spans of a request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self._spans += [
                    Span(
                        names["service.name"], s.name, s.trace_id.hex(), s.span_id.hex(),
                        s.parent_span_id.hex(), _attributes(s.attributes),
                    )
                    for s in scope.spans
                ]  # fmt: skip

    def traces(self) -> dict[str, list[Span]]:
        """All spans by their trace."""
        found: dict[str, list[Span]] = {}
        for span in list(self._spans):
            found.setdefault(span.trace, []).append(span)
        return found


def _attributes(pairs: Any) -> dict[str, str]:
    return {p.key: p.value.string_value for p in pairs}


@contextmanager
def collecting_spans() -> Iterator[SpanCollector]:
    """Listen on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = SpanCollector(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
