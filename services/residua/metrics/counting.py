"""What the services count for Prometheus. Counting never raises, and no label is unbounded.

A metric is registered when it is first used, so that a service exports what it measures and
nothing else. `METRICS` describes all of them.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from residua.metrics.descriptions import METRICS
from residua.metrics.health import Health, serve_health
from residua.settings import ServiceSettings

__all__ = ["Metrics"]

# Instruments and bands come from outside: the first so many are labels, the rest is "other".
_MOST_VALUES = 50
_TAI_MINUS_UTC = 37.0


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
        self.records_handled = 0

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

    def heartbeat_taken(self) -> None:
        """Say that the brokers took a heartbeat."""
        with suppress(Exception):
            self._metric("residua_last_heartbeat_seconds").set_to_current_time()

    def stages(self, stages: Iterable[tuple[str, float, float]]) -> None:
        """Record how long the stages of a subtraction took: name, begin and seconds of each."""
        with suppress(Exception):
            for name, _, seconds in stages:
                self._metric("residua_stage_seconds").labels(name).observe(seconds)

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
        psf_fwhm: float | None = None,
        limiting_magnitude: float | None = None,
        star_residual: float | None = None,
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
        psf_fwhm
            Of the difference image, arcsec.
        limiting_magnitude
            Depth, AB.
        star_residual
            Part of the flux that stars leave.
        """
        measured = {
            "residua_psf_fwhm_arcsec": psf_fwhm,
            "residua_limiting_magnitude": limiting_magnitude,
            "residua_star_residual": star_residual,
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

    def since_exposure(self, end_tai: datetime | None) -> None:
        """Record that an outcome was published, for an exposure that ended then (TAI)."""
        if end_tai is not None:
            with suppress(Exception):
                seconds = (datetime.now(UTC).replace(tzinfo=None) - end_tai).total_seconds()
                self._metric("residua_since_exposure_seconds").observe(
                    max(0.0, seconds + _TAI_MINUS_UTC)
                )

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
                self.records_handled += 1
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

    def recreation(self, result: str) -> None:
        """Count a request for an image that is not stored: made, expired, or an error's name."""
        with suppress(Exception):
            self._metric("residua_recreations").labels(result).inc()

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
        self.records_handled += 1
        with suppress(Exception):
            self._metric("residua_processing_seconds").observe(time.monotonic() - taken)
            self._metric("residua_latency_seconds").observe(
                max(0.0, time.time() - timestamp_ms / 1000.0)
            )
