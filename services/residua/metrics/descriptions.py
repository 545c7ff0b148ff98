"""Every metric of the services, described once: counting, documentation and dashboards read it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "MetricDescription"]

_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_NOISE = (0.8, 0.9, 0.95, 0.98, 1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.5, 2.0)
_NUMBERS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
_RECORDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


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
        "residua_last_heartbeat_seconds",
        "gauge",
        "When the brokers last took a heartbeat of this process, seconds since 1970.",
    ),
    MetricDescription(
        "residua_arrivals",
        "counter",
        "Arrivals taken in hand, live or replay; one that comes again counts again.",
        ("instrument", "mode"),
    ),
    MetricDescription(
        "residua_outcomes",
        "counter",
        "Outcomes by kind, error or reason, who should act, instrument, band, run, live or replay.",
        ("outcome", "error", "responsible", "instrument", "band", "run", "mode"),
    ),
    MetricDescription(
        "residua_dead_letters", "counter", "Records sent to dead letters.", ("topic", "error")
    ),
    MetricDescription(
        "residua_retries",
        "counter",
        "Tries beyond the first, by cause: a component that does not answer, brokers that took no "
        "heartbeat, a timeout.",
        ("cause",),
    ),
    MetricDescription(
        "residua_store_wait_seconds",
        "gauge",
        "How long the subtraction in hand has waited for an answer of its store, tries of the "
        "store's client included; 0 without a wait.",
    ),
    MetricDescription(
        "residua_disk_free_fraction",
        "gauge",
        "Free part of the disk that holds a local directory of the service.",
        ("place",),
    ),
    MetricDescription(
        "residua_retention_seconds",
        "gauge",
        "How long the brokers keep records of a topic; infinite where there is no limit.",
        ("topic",),
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
        "residua_stage_seconds",
        "histogram",
        "Stages of making a difference image: read_visit_image, read_templates, subtract (all of "
        "the fit and the pixels), write; seconds.",
        ("stage",),
    ),
    MetricDescription(
        "residua_cpu_seconds",
        "histogram",
        "CPU seconds of making an outcome, all threads: what one detector costs.",
        (),
        (0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0),
    ),
    MetricDescription(
        "residua_latency_seconds",
        "histogram",
        "From a record's timestamp to its acknowledgement, seconds: of arrivals to the outcome "
        "(worker), of outcomes to the row (catalog) or the dataset (butler).",
    ),
    MetricDescription(
        "residua_arrival_latency_seconds",
        "histogram",
        "From the timestamp of a live arrival to its row (catalog), its dataset (butler) or its "
        "Avro (bridge), seconds: the whole way, waits included.",
        (),
        (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0, 3600.0),
    ),
    MetricDescription(
        "residua_since_exposure_seconds",
        "histogram",
        "From the end of the exposure to the published outcome, seconds; live arrivals that say "
        "when it ended.",
        (),
        (10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0, 3600.0, 86400.0),
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
        "residua_psf_fwhm_arcsec",
        "histogram",
        "FWHM of the PSF of difference images, arcsec.",
        ("band",),
        (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 5.0),
    ),
    MetricDescription(
        "residua_limiting_magnitude",
        "histogram",
        "Depth of difference images, AB magnitude at the detection threshold.",
        ("band",),
        (16.0, 18.0, 19.0, 20.0, 21.0, 22.0, 22.5, 23.0, 23.5, 24.0, 24.5, 25.0, 26.0, 28.0),
    ),
    MetricDescription(
        "residua_star_residual",
        "histogram",
        "Part of their flux that stars leave on difference images.",
        ("band",),
        (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5),
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
        "residua_recreations",
        "counter",
        "Requests for images that are not stored, by what became of them.",
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
    MetricDescription(
        "residua_verified_images",
        "gauge",
        "Images that the last `residua verify --metrics-file` made again: identical, different, "
        "impossible.",
        ("result",),
    ),
    MetricDescription(
        "residua_verify_time_seconds",
        "gauge",
        "When `residua verify --metrics-file` ended last, seconds since 1970.",
    ),
    MetricDescription("residua_in_hand", "gauge", "Arrivals in hand."),
    MetricDescription("residua_templates", "gauge", "Templates in the index."),
    MetricDescription(
        "residua_template_lookup_seconds",
        "histogram",
        "Finding an arrival's templates in the index, seconds.",
        (),
        (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
    ),
)

METRICS = {description.name: description for description in _DESCRIPTIONS}
"""Every metric of the services by its name, the access service's requests apart."""
