"""Logs, metrics and the sign of life: one way for all services, none of which can stop one."""

import logging
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import override

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from residua.settings import ServiceSettings

__all__ = ["SECONDS_BUCKETS", "Metrics", "configure_logging", "touch_heartbeat"]

SECONDS_BUCKETS = (
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    3.0,
    5.0,
    7.5,
    10.0,
    15.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
"""Upper edges of the histograms, seconds."""

# A broker that is away makes its clients write about 145 lines a second.
_QUIET = ("aiokafka", "faust", "mode", "kafka")
_QUIET_SECONDS = 10.0


class _OncePerInterval(logging.Filter):
    """Lets each message of a chatty library through once in ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.INFO or not record.name.startswith(_QUIET):
            return True
        place = (record.pathname, record.lineno)
        now = time.monotonic()
        if now - self._last.get(place, float("-inf")) < _QUIET_SECONDS:
            return False
        self._last[place] = now
        return True


def configure_logging(settings: ServiceSettings, service: str) -> None:
    """Send structlog and the standard library's loggers to stderr, as JSON lines or for a terminal.

    Parameters
    ----------
    service
        Name of the service, in every line.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_OncePerInterval())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


class Metrics:
    """What the services count, in a registry of their own; counting never raises."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._outcomes = Counter(
            "residua_outcomes",
            "Outcomes published, by kind and error or reason.",
            ["outcome", "error"],
            registry=registry,
        )
        self._dead_letters = Counter(
            "residua_dead_letters",
            "Records sent to dead letters.",
            ["topic", "error"],
            registry=registry,
        )
        self._retries = Counter(
            "residua_retries", "Tries beyond the first, by cause.", ["cause"], registry=registry
        )
        self._rows_changed = Counter(
            "residua_rows_changed", "Rows inserted or replaced.", registry=registry
        )
        self._processing = Histogram(
            "residua_processing_seconds",
            "From taking an arrival to its acknowledgement, seconds.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._latency = Histogram(
            "residua_latency_seconds",
            "From a record's timestamp to its acknowledgement, seconds.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._next_visits = Counter(
            "residua_next_visits",
            "Announcements of visits, by what became of them.",
            ["result"],
            registry=registry,
        )
        self._templates_ahead = Counter(
            "residua_templates_read_ahead",
            "Templates of announced visits: read, known (in memory already), failed, dropped.",
            ["result"],
            registry=registry,
        )
        self._template_reads = Counter(
            "residua_template_reads",
            "Templates of subtractions, by where they came from: store, memory, ahead.",
            ["source"],
            registry=registry,
        )
        self._lost_to_retention = Counter(
            "residua_lost_to_retention",
            "Offsets that retention removed before the group read them.",
            ["topic"],
            registry=registry,
        )
        self._in_hand = Gauge("residua_in_hand", "Arrivals in hand.", registry=registry)
        self._templates = Gauge("residua_templates", "Templates in the index.", registry=registry)

    def serve(self, port: int | None) -> None:
        """Answer Prometheus on a port; a port in use is logged, and the service goes on."""
        if port is None:
            return
        try:
            start_http_server(port, registry=self.registry)
        except OSError as e:
            structlog.get_logger(__name__).warning("metrics_not_served", port=port, error=str(e))

    def outcome(self, kind: str, error: str = "") -> None:
        """Count an outcome published."""
        with suppress(Exception):
            self._outcomes.labels(kind, error).inc()

    def dead_letter(self, topic: str, error: str) -> None:
        """Count a record sent to the dead letters."""
        with suppress(Exception):
            self._dead_letters.labels(topic, error).inc()

    def lost_to_retention(self, topic: str, number: int) -> None:
        """Count records that were removed before they were read."""
        with suppress(Exception):
            self._lost_to_retention.labels(topic).inc(number)

    def retry(self, cause: str) -> None:
        """Count a try beyond the first."""
        with suppress(Exception):
            self._retries.labels(cause).inc()

    def rows_changed(self, number: int) -> None:
        """Count rows inserted or replaced."""
        with suppress(Exception):
            self._rows_changed.inc(number)

    def templates(self, number: int) -> None:
        """Show the number of templates in the index."""
        with suppress(Exception):
            self._templates.set(number)

    def next_visit(self, result: str) -> None:
        """Count an announcement of a visit."""
        with suppress(Exception):
            self._next_visits.labels(result).inc()

    def templates_read_ahead(self, **counts: int) -> None:
        """Count templates of announced visits by what became of them."""
        with suppress(Exception):
            for result, number in counts.items():
                self._templates_ahead.labels(result).inc(number)

    def template_reads(self, **counts: int) -> None:
        """Count templates of a subtraction by where they came from."""
        with suppress(Exception):
            for source, number in counts.items():
                self._template_reads.labels(source).inc(number)

    def in_hand(self, number: int) -> None:
        """Show the number of arrivals in hand."""
        with suppress(Exception):
            self._in_hand.set(number)

    def handled(self, *, taken: float, timestamp_ms: int) -> None:
        """Record how long a record took.

        Parameters
        ----------
        taken
            When it was taken in hand, `time.monotonic` seconds.
        timestamp_ms
            When it was made, ms since 1970, UTC.
        """
        with suppress(Exception):
            self._processing.observe(time.monotonic() - taken)
            self._latency.observe(max(0.0, time.time() - timestamp_ms / 1000.0))


def touch_heartbeat(path: Path | None) -> None:
    """Renew the sign of life: a file whose modification time a probe looks at."""
    if path is not None:
        with suppress(OSError):
            path.touch()
