"""What the services count for Prometheus. Counting never raises, and no label is unbounded.

A metric is registered when it is first used, so that a service exports what it measures and
nothing else. `METRICS` describes all of them.
"""

import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from residua.metrics.registered import RegisteredMetrics

__all__ = ["Metrics"]

_TAI_MINUS_UTC = 37.0
_UNREADABLE = ("MalformedEventError", "UnreadableRecordError", "UnsupportedVersionError")


class Metrics(RegisteredMetrics):
    """What one service counts."""

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

    def expect(self, topics: Iterable[str]) -> None:
        """Show what is rare and has not happened as 0: Prometheus sees no first step from nothing.

        Parameters
        ----------
        topics
            Full names of what the service reads.
        """
        for topic in topics:
            self.lost_to_retention(topic, 0)
            with suppress(Exception):
                for error in _UNREADABLE:
                    self._metric("residua_dead_letters").labels(topic, error)

    def arrival(self, instrument: str, *, replay: bool) -> None:
        """Count an arrival that was taken in hand."""
        with suppress(Exception):
            self._metric("residua_arrivals").labels(
                self._bounded("instrument", instrument), "replay" if replay else "live"
            ).inc()

    def outcome(
        self,
        kind: str,
        error: str = "",
        *,
        responsible: str = "",
        instrument: str = "",
        band: str | None = None,
        run: str = "",
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
                self._bounded("run", run),
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

    def store_wait(self, seconds: float) -> None:
        """Show how long the subtraction in hand has waited for its store."""
        with suppress(Exception):
            self._metric("residua_store_wait_seconds").set(seconds)

    def disk(self, place: str, directory: str) -> None:
        """Show how much of a local directory's disk is free."""
        with suppress(Exception):
            usage = shutil.disk_usage(directory)
            self._metric("residua_disk_free_fraction").labels(place).set(usage.free / usage.total)

    def retention(self, topic: str, seconds: float) -> None:
        """Show how long the brokers keep a topic's records."""
        with suppress(Exception):
            self._metric("residua_retention_seconds").labels(topic).set(seconds)

    def arrivals_in(self, arrived: Iterable[datetime]) -> None:
        """Record that live arrivals of these times have their rows or datasets now."""
        with suppress(Exception):
            now = datetime.now(UTC)
            for time_of_one in arrived:
                self._metric("residua_arrival_latency_seconds").observe(
                    max(0.0, (now - time_of_one).total_seconds())
                )

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

    def cost(self, cpu_seconds: float) -> None:
        """Record what an outcome took; 0 is one that was there already."""
        if cpu_seconds > 0.0:
            with suppress(Exception):
                self._metric("residua_cpu_seconds").observe(cpu_seconds)

    def template_lookup(self, seconds: float) -> None:
        """Record how long it took to find an arrival's templates."""
        with suppress(Exception):
            self._metric("residua_template_lookup_seconds").observe(seconds)

    def next_visit(self, result: str) -> None:
        """Count an announcement of a visit."""
        with suppress(Exception):
            self._metric("residua_next_visits").labels(result).inc()

    def recreation(self, result: str) -> None:
        """Count a request for an image that is not stored: made, expired, or an error's name."""
        with suppress(Exception):
            self._metric("residua_recreations").labels(result).inc()

    def verified(self, counts: Mapping[str, int]) -> None:
        """Show how many images were made again to compare them, by result, and when that was."""
        with suppress(Exception):
            for result, number in counts.items():
                self._metric("residua_verified_images").labels(result).set(number)
            self._metric("residua_verify_time_seconds").set_to_current_time()

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
