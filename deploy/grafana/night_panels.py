"""The panels that ask how the night goes: the night itself, delivery, quality."""

from deploy.grafana.panel import (
    ALERTS,
    DEAD_LETTERS,
    FAILED,
    OLDEST,
    RANGE,
    RATE,
    RETRIES,
    SERVICE,
    SKY_NOISE,
    WAITING,
    Panel,
    quantiles,
    rate,
)

NIGHT = (
    Panel(
        "Visit-detectors by what became of them",
        "In the time shown; replays apart.",
        (
            (
                f'sum by (outcome) (increase(residua_outcomes_total{{mode="live"}}[{RANGE}]))',
                "{{outcome}}",
            ),
        ),
        kind="stat",
    ),
    Panel(
        "Workers, and arrivals in hand",
        "Workers that Prometheus reaches.",
        (
            ('count(residua_build{service="worker"})', "workers"),
            ("sum(residua_in_hand)", "in hand"),
        ),
        kind="stat",
        width=4,
    ),
    Panel(
        "Announced visits",
        "In the time shown, by what became of the announcement.",
        ((f"sum by (result) (increase(residua_next_visits_total[{RANGE}]))", "{{result}}"),),
        kind="stat",
        width=4,
    ),
    ALERTS,
    Panel(
        "Outcomes a minute",
        "Does tonight keep up?",
        rate("residua_outcomes", "outcome, mode"),
        width=12,
    ),
    Panel(
        "Median seconds of each stage of a subtraction",
        "Where a worker's time goes: reading, subtracting, writing.",
        (
            (
                "histogram_quantile(0.5, sum by (le, stage) (rate(residua_stage_seconds_bucket[$__rate_interval])))",
                "{{stage}}",
            ),
        ),
        unit="s",
    ),
    Panel(
        "Seconds from an arrival to its row and its dataset",
        "The whole way of a live visit-detector, by the arrival's timestamp: catalog, Butler.",
        quantiles("residua_arrival_latency_seconds", "service", SERVICE),
        unit="s",
        width=12,
        steps=(30, 60),
    ),
    Panel(
        "Arrivals a minute",
        "Taken in hand; one that comes again counts again.",
        rate("residua_arrivals", "instrument, mode"),
        width=12,
    ),
    Panel(
        "Seconds from a record to what became of it",
        "Worker: arrival to outcome. Catalog: outcome to row. Butler: outcome to dataset.",
        quantiles("residua_latency_seconds", "service", SERVICE),
        unit="s",
        width=12,
    ),
    WAITING,
    OLDEST,
    SKY_NOISE,
    Panel(
        "Failures, and who should act",
        "In the time shown. The outcomes' messages name file and remedy.",
        (
            (
                f"sum by (error, responsible) (increase({FAILED}[{RANGE}]))",
                "{{error}} ({{responsible}})",
            ),
        ),
        kind="bargauge",
        width=12,
    ),
    Panel(
        "Skipped, and why",
        "In the time shown. no_template: docs/runbook.md#no-templates.",
        (
            (
                f'sum by (error) (increase(residua_outcomes_total{{outcome="skipped"}}[{RANGE}]))',
                "{{error}}",
            ),
        ),
        kind="bargauge",
        width=12,
    ),
)

DELIVERY = (
    WAITING,
    OLDEST,
    Panel(
        "Records lost to retention",
        "In the time shown. Any is a page: docs/runbook.md#lost-to-retention.",
        ((f"sum by (topic) (increase(residua_lost_to_retention_total[{RANGE}]))", "{{topic}}"),),
        kind="stat",
        steps=(1, 1),
    ),
    Panel(
        "Seconds from taking an arrival to its acknowledgement",
        "What a worker itself takes, tries included.",
        quantiles("residua_processing_seconds"),
        unit="s",
    ),
    Panel(
        "Seconds from a record to what became of it",
        "Processing and waiting, by the record's own timestamp.",
        quantiles("residua_latency_seconds", "service", SERVICE),
        unit="s",
    ),
    Panel(
        "Seconds from the end of the exposure to its outcome",
        "By the time in the event: what a broker of alerts waits for.",
        quantiles("residua_since_exposure_seconds"),
        unit="s",
    ),
    DEAD_LETTERS,
    RETRIES,
    Panel(
        "Seconds that an arrival in hand waits for its store",
        "An alert warns from 30 s on: docs/runbook.md#store-silent.",
        (("max by (instance) (residua_store_wait_seconds)", "{{instance}}"),),
        unit="s",
        steps=(10, 30),
    ),
    Panel(
        "Oldest unread, as a part of the retention",
        "At 1 records are lost; an alert pages from 0.5 on: docs/runbook.md#retention-near.",
        (
            (
                (
                    "max by (topic) (residua_oldest_unread_seconds) "
                    "/ max by (topic) (residua_retention_seconds)"
                ),
                "{{topic}}",
            ),
        ),
        unit="percentunit",
        steps=(0.25, 0.5),
    ),
    Panel(
        "Outcomes by run, in the time shown",
        "Replays into runs of their own stand beside the night's.",
        ((f"sum by (run) (increase(residua_outcomes_total[{RANGE}]))", "{{run}}"),),
        kind="bargauge",
    ),
    Panel(
        "Live and replayed outcomes a minute",
        "A replay goes to the same workers.",
        rate("residua_outcomes", "mode"),
    ),
    Panel(
        "Announcements a minute",
        "By what became of them.",
        rate("residua_next_visits", "result"),
    ),
    Panel(
        "Templates read ahead a minute",
        "Of announced visits; dropped: the memory for templates is too small.",
        rate("residua_templates_read_ahead", "result"),
    ),
    Panel(
        "Bucket notifications a minute",
        "Parts of them, by what became of them.",
        rate("residua_notifications", "result"),
    ),
    Panel(
        "Messages of the bridge a minute",
        "The observatory's announcements, and outcomes as Avro.",
        rate("residua_bridge", "result"),
    ),
)

QUALITY = (
    SKY_NOISE,
    Panel(
        "Standard deviation of the sky's pixels over their errors",
        "1 is honest. Beyond it gains or variance planes are off.",
        quantiles("residua_pixel_pull", "band"),
    ),
    Panel(
        "FWHM of the PSF",
        "Of difference images, arcsec: the seeing, and what the match made of it.",
        quantiles("residua_psf_fwhm_arcsec", "band"),
    ),
    Panel(
        "Limiting magnitude",
        "AB at the detection threshold. Less than on other nights: clouds, or a template too shallow.",
        quantiles("residua_limiting_magnitude", "band"),
    ),
    Panel(
        "Part of their flux that stars leave",
        "Beyond a few per cent the match does not fit: docs/runbook.md#sky-noise.",
        quantiles("residua_star_residual", "band"),
        unit="percentunit",
    ),
    Panel(
        "Detections of an image",
        "Many more than on other nights: registration, or bright stars that do not go away.",
        quantiles("residua_detections", "band"),
    ),
    Panel(
        "Part of the detector that templates cover",
        "Little: is the template set complete here?",
        quantiles("residua_coverage_fraction", "band"),
        unit="percentunit",
    ),
    Panel(
        "Images by S",
        "How many, over time, all bands.",
        ((f"sum by (le) (increase(residua_sky_noise_ratio_bucket[{RATE}]))", "{{le}}"),),
        kind="heatmap",
        width=16,
    ),
    Panel(
        "Failed of all, by band",
        "Live. An alert warns from 5 % on.",
        (
            (
                (
                    f'sum by (band) (increase(residua_outcomes_total{{outcome="failed", mode="live"}}[{RANGE}])) '
                    f'/ sum by (band) (increase(residua_outcomes_total{{mode="live"}}[{RANGE}]))'
                ),
                "{{band}}",
            ),
        ),
        kind="bargauge",
        unit="percentunit",
        steps=(0.02, 0.05),
    ),
    Panel(
        "Failures a minute, by instrument and error",
        "One instrument alone: its files; all: templates or configuration.",
        (
            (
                f"60 * sum by (instrument, error) (rate({FAILED}[{RATE}]))",
                "{{instrument}} {{error}}",
            ),
        ),
        width=16,
    ),
)
