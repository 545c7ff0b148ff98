"""What the services count for Prometheus. Counting never raises, and no label is unbounded.

A metric is registered when it is first used, so that a service exports what it measures and
nothing else. `METRICS` describes all of them; the documentation and the dashboards' tests read it.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from residua.health import Health, serve_health
from residua.settings import ServiceSettings

__all__ = ["METRICS", "MetricDescription", "Metrics"]

_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_NOISE = (0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.5, 2.0)
_NUMBERS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
_RECORDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)

# Instruments and bands come from outside: the first so many are labels, the rest is "other".
_MOST_VALUES = 50


@dataclass(frozen=True)
class MetricDescription:
    """One metric.

    Parameters
    ----------
    name
        As in queries, without the suffixes ``_total``, ``_bucket``, ``_sum`` and ``_count``.
    kind
        Type of Prometheus.
    text
        What it measures, with its unit.
    labels
        Names of its labels.
    buckets
        Upper edges of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _SECONDS


_DESCRIPTIONS = (
    MetricDescription(
        "residua_build", "gauge", "1, with the version and the service.", ("version", "service")
    ),
    MetricDescription("residua_run", "gauge", "1, with the name of the worker's run.", ("run",)),
    MetricDescription(
        "residua_last_sign_of_life_seconds", "gauge", "When work last went on, seconds since 1970."
    ),
    MetricDescription(
        "residua_outcomes",
        "counter",
        "Outcomes by kind, error or reason, who should act, instrument, band, and live or replay.",
        ("outcome", "error", "responsible", "instrument", "band", "mode"),
    ),
    MetricDescription(
        "residua_dead_letters", "counter", "Records sent to dead letters.", ("topic", "error")
    ),
    MetricDescription(
        "residua_retries",
        "counter",
        "Tries beyond the first, by cause: a store or a broker that does not answer, a timeout.",
        ("cause",),
    ),
    MetricDescription(
        "residua_lost_to_retention",
        "counter",
        "Offsets that retention removed before the group read them.",
        ("topic",),
    ),
    MetricDescription(
        "residua_lag", "gauge", "Records of a topic that this member has yet to handle.", ("topic",)
    ),
    MetricDescription(
        "residua_oldest_unread_seconds",
        "gauge",
        "How long ago the last record handled of a topic was made, while more wait; 0 when none "
        "does. At most the age of the oldest unread record and the gap before it.",
        ("topic",),
    ),
    MetricDescription(
        "residua_batch_records", "histogram", "Records of a batch written.", (), _RECORDS
    ),
    MetricDescription("residua_batch_seconds", "histogram", "Writing a batch, seconds."),
    MetricDescription("residua_rows_changed", "counter", "Rows inserted or replaced."),
    MetricDescription(
        "residua_processing_seconds",
        "histogram",
        "From taking an arrival to its acknowledgement, seconds.",
    ),
    MetricDescription(
        "residua_latency_seconds",
        "histogram",
        "From a record's timestamp to its acknowledgement, seconds: of arrivals to the outcome "
        "(worker), of outcomes to the row (catalog) or the dataset (butler).",
    ),
    MetricDescription(
        "residua_sky_noise_ratio",
        "histogram",
        "Standard deviation of the matched filter's S/N on the sky (S); 1 is honest.",
        ("band",),
        _NOISE,
    ),
    MetricDescription(
        "residua_pixel_pull",
        "histogram",
        "Standard deviation of the sky's pixels over their errors; 1 is honest.",
        ("band",),
        _NOISE,
    ),
    MetricDescription(
        "residua_detections", "histogram", "Detections of an image.", ("band",), _NUMBERS
    ),
    MetricDescription(
        "residua_coverage_fraction",
        "histogram",
        "Part of the detector that templates cover.",
        ("band",),
        (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0),
    ),
    MetricDescription(
        "residua_next_visits",
        "counter",
        "Announcements of visits, by what became of them.",
        ("result",),
    ),
    MetricDescription(
        "residua_templates_read_ahead",
        "counter",
        "Templates of announced visits: read, known (in memory already), failed, dropped.",
        ("result",),
    ),
    MetricDescription(
        "residua_template_reads",
        "counter",
        "Templates of subtractions, by where they came from: store, memory, ahead.",
        ("source",),
    ),
    MetricDescription("residua_in_hand", "gauge", "Arrivals in hand."),
    MetricDescription("residua_templates", "gauge", "Templates in the index."),
)

METRICS = {description.name: description for description in _DESCRIPTIONS}
"""Every metric of the services by its name, the access service's requests apart."""


class Metrics:
    """What one service counts, in a registry of its own.

    Parameters
    ----------
    health
        The service's sign of life, shown beside the metrics.
    """

    def __init__(self, health: Health | None = None) -> None:
        self.registry = CollectorRegistry()
        self.health = health or Health()
        self._known: dict[str, Any] = {}
        self._values: dict[str, set[str]] = {}

    def serve(self, settings: ServiceSettings, service: str, run: str | None = None) -> None:
        """Answer Prometheus and health probes on the port of the settings, if there is one.

        A port in use is logged, and the service goes on.
        """
        from residua import __version__

        with suppress(Exception):
            self._metric("residua_build").labels(__version__, service).set(1)
            if run is not None:
                self._metric("residua_run").labels(run).set(1)
        if settings.metrics_port:
            serve_health(self.health, self.registry, settings.metrics_host, settings.metrics_port)

    def _metric(self, name: str) -> Any:
        metric = self._known.get(name)
        if metric is None:
            d = METRICS[name]
            if d.kind == "histogram":
                metric = Histogram(
                    name, d.text, d.labels, buckets=d.buckets, registry=self.registry
                )
            else:
                kind = Counter if d.kind == "counter" else Gauge
                metric = kind(name, d.text, d.labels, registry=self.registry)
            self._known[name] = metric
        return metric

    def _bounded(self, label: str, value: str | None) -> str:
        known = self._values.setdefault(label, set())
        text = value or ""
        if text not in known:
            if len(known) >= _MOST_VALUES:
                return "other"
            known.add(text)
        return text

    def beat(self) -> None:
        """Say that the work goes on."""
        self.health.beat()
        with suppress(Exception):
            self._metric("residua_last_sign_of_life_seconds").set_to_current_time()

    def outcome(
        self,
        kind: str,
        error: str = "",
        *,
        responsible: str = "",
        instrument: str = "",
        band: str | None = None,
        replay: bool = False,
    ) -> None:
        """Count an outcome.

        Parameters
        ----------
        error
            Error of a failure, reason of a skipped one.
        responsible
            Who should act on a failure.
        replay
            Whether the arrival was sent again by a replay.
        """
        with suppress(Exception):
            self._metric("residua_outcomes").labels(
                kind,
                error,
                responsible,
                self._bounded("instrument", instrument),
                self._bounded("band", band),
                "replay" if replay else "live",
            ).inc()

    def quality(
        self,
        band: str | None,
        *,
        sky_noise: float | None,
        pull: float | None,
        detections: int | None,
        coverage: float | None,
    ) -> None:
        """Record how good a difference image is; `None` is not measured.

        Parameters
        ----------
        sky_noise
            Standard deviation of the matched filter's S/N on the sky.
        pull
            Standard deviation of the sky's pixels over their errors.
        coverage
            Part of the detector that templates cover.
        """
        measured = {
            "residua_sky_noise_ratio": sky_noise,
            "residua_pixel_pull": pull,
            "residua_detections": detections,
            "residua_coverage_fraction": coverage,
        }
        with suppress(Exception):
            label = self._bounded("band", band)
            for name, value in measured.items():
                if value is not None:
                    self._metric(name).labels(label).observe(value)

    def dead_letter(self, topic: str, error: str) -> None:
        """Count a record sent to the dead letters."""
        with suppress(Exception):
            self._metric("residua_dead_letters").labels(topic, error).inc()

    def lost_to_retention(self, topic: str, number: int) -> None:
        """Count records that were removed before they were read."""
        with suppress(Exception):
            self._metric("residua_lost_to_retention").labels(topic).inc(number)

    def retry(self, cause: str) -> None:
        """Count a try beyond the first."""
        with suppress(Exception):
            self._metric("residua_retries").labels(cause).inc()

    def backlog(self, topic: str, records: int, last_handled_ms: int | None) -> None:
        """Show what waits in the partitions of a topic that this member has.

        Parameters
        ----------
        records
            Records yet to be handled.
        last_handled_ms
            Timestamp of the last record handled, ms since 1970; `None` before the first.
        """
        with suppress(Exception):
            self._metric("residua_lag").labels(topic).set(records)
            age = 0.0
            if records > 0 and last_handled_ms is not None:
                age = max(0.0, time.time() - last_handled_ms / 1000.0)
            self._metric("residua_oldest_unread_seconds").labels(topic).set(age)

    def batch(self, timestamps_ms: Iterable[int], seconds: float) -> None:
        """Record a batch that was written and acknowledged.

        Parameters
        ----------
        timestamps_ms
            Of its records, ms since 1970.
        seconds
            How long writing took.
        """
        with suppress(Exception):
            now, number = time.time(), 0
            for timestamp in timestamps_ms:
                number += 1
                self._metric("residua_latency_seconds").observe(max(0.0, now - timestamp / 1000.0))
            self._metric("residua_batch_records").observe(number)
            self._metric("residua_batch_seconds").observe(seconds)

    def rows_changed(self, number: int) -> None:
        """Count rows inserted or replaced."""
        with suppress(Exception):
            self._metric("residua_rows_changed").inc(number)

    def templates(self, number: int) -> None:
        """Show the number of templates in the index."""
        with suppress(Exception):
            self._metric("residua_templates").set(number)

    def next_visit(self, result: str) -> None:
        """Count an announcement of a visit."""
        with suppress(Exception):
            self._metric("residua_next_visits").labels(result).inc()

    def templates_read_ahead(self, **counts: int) -> None:
        """Count templates of announced visits by what became of them."""
        with suppress(Exception):
            for result, number in counts.items():
                self._metric("residua_templates_read_ahead").labels(result).inc(number)

    def template_reads(self, **counts: int) -> None:
        """Count templates of a subtraction by where they came from."""
        with suppress(Exception):
            for source, number in counts.items():
                self._metric("residua_template_reads").labels(source).inc(number)

    def in_hand(self, number: int) -> None:
        """Show the number of arrivals in hand."""
        with suppress(Exception):
            self._metric("residua_in_hand").set(number)

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
            self._metric("residua_processing_seconds").observe(time.monotonic() - taken)
            self._metric("residua_latency_seconds").observe(
                max(0.0, time.time() - timestamp_ms / 1000.0)
            )
