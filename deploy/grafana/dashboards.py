"""Grafana's dashboards, from tables of what each panel asks.

    python deploy/grafana/dashboards.py

writes them into the chart, from where Compose takes them too. A test says whether they are up to
date, and asks a Prometheus that scrapes our metrics every question.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[1] / "helm" / "residua" / "files" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RANGE, RATE = "$__range", "$__rate_interval"
# Which service a series is of: every service says so in residua_build.
SERVICE = " * on (job, instance) group_left (service) residua_build"
FAILED = 'residua_outcomes_total{outcome="failed"}'


@dataclass(frozen=True)
class Panel:
    """One panel.

    Parameters
    ----------
    title, text
        What it shows, and what to do about it.
    queries
        PromQL, each with the legend of its series.
    kind
        Grafana's type of panel.
    unit
        Grafana's name of the unit.
    width
        Of 24.
    steps
        Values from which on it is orange and red.
    """

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    steps: tuple[float, float] | None = None


def quantiles(metric: str, by: str = "", times: str = "") -> tuple[tuple[str, str], ...]:
    """Ask for the median and the 95th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[{RATE}]){times}))",
            f"{legend}{name}",
        )
        for q, name in ((0.5, "median"), (0.95, "95 %"))
    )


def rate(metric: str, by: str, where: str = "") -> tuple[tuple[str, str], ...]:
    """Ask for a counter's increase per minute."""
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return ((f"60 * sum by ({by}) (rate({metric}_total{where}[{RATE}]))", legend),)


WAITING = Panel(
    "Records that wait",
    "Arrivals, outcomes and templates that their consumers have yet to handle. Growing: "
    "docs/runbook.md#lag.",
    (("sum by (topic) (residua_lag)", "{{topic}}"),),
)
OLDEST = Panel(
    "Age of the oldest unread",
    "An alert pages from 5 minutes on.",
    (("max by (topic) (residua_oldest_unread_seconds)", "{{topic}}"),),
    unit="s",
    steps=(120, 300),
)
SKY_NOISE = Panel(
    "Standard deviation of S/N on the sky (S)",
    "1 is honest. Above 1.1 significances are overstated: docs/runbook.md#sky-noise.",
    quantiles("residua_sky_noise_ratio", "band"),
)
ALERTS = Panel("Alerts", "Each has a page in docs/runbook.md.", (), kind="alertlist")
DEAD_LETTERS = Panel(
    "Records nobody could read, in the time shown",
    "`residua dead-letters list` shows them and who should act.",
    (
        (
            f"sum by (topic, error) (increase(residua_dead_letters_total[{RANGE}]))",
            "{{topic}} {{error}}",
        ),
    ),
    kind="bargauge",
)
RETRIES = Panel(
    "Tries again a minute, by cause",
    "A store, a database or a broker that answers slowly or not at all.",
    rate("residua_retries", "cause"),
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

CATALOG = (
    Panel(
        "Rows changed a minute",
        "Inserted or replaced.",
        ((f"60 * sum(rate(residua_rows_changed_total[{RATE}]))", "rows"),),
    ),
    Panel("Records of a batch", "Larger when it catches up.", quantiles("residua_batch_records")),
    Panel(
        "Seconds to write a batch",
        "Slow: the database.",
        quantiles("residua_batch_seconds"),
        unit="s",
    ),
    Panel(
        "Requests a minute",
        "By service; cutouts and images deliver pixels.",
        (
            (
                f"60 * sum by (service) (rate(residua_access_request_seconds_count[{RATE}]))",
                "{{service}}",
            ),
        ),
    ),
    Panel(
        "Images made again a minute",
        "Requests to the workers for images that are not stored, by what became of them.",
        (
            (
                f"60 * sum by (result) (rate(residua_recreations_total[{RATE}]))",
                "{{result}}",
            ),
        ),
    ),
    Panel(
        "Seconds to the first byte",
        "An alert warns from 5 s on: docs/runbook.md#access-slow.",
        quantiles("residua_access_request_seconds", "service"),
        unit="s",
        steps=(2, 5),
    ),
    Panel(
        "Answers by status",
        "5xx are ours: docs/runbook.md#access-errors.",
        (
            (
                f"60 * sum by (status) (rate(residua_access_request_seconds_count[{RATE}]))",
                "{{status}}",
            ),
        ),
    ),
    Panel(
        "Part of the requests that end in an error of ours",
        "In the time shown.",
        (
            (
                (
                    f'sum(increase(residua_access_request_seconds_count{{status=~"5.."}}[{RANGE}])) '
                    f"/ sum(increase(residua_access_request_seconds_count[{RANGE}]))"
                ),
                "errors",
            ),
        ),
        kind="stat",
        unit="percentunit",
        steps=(0.01, 0.05),
    ),
    Panel(
        "Seconds from outcome to row and to dataset",
        "Catalog and Butler.",
        quantiles(
            "residua_latency_seconds",
            "service",
            f'{SERVICE}{{service=~"catalog|butler"}}',
        ),
        unit="s",
        width=16,
    ),
)

INFRASTRUCTURE = (
    Panel(
        "Services that answer",
        "0: docs/runbook.md#service-down.",
        (('min by (instance) (up{job="residua"})', "{{instance}}"),),
        kind="stat",
    ),
    Panel(
        "Seconds since the last sign of life",
        "A service lives but works no more beyond 120 s: docs/runbook.md#no-sign-of-life.",
        (
            (
                "max by (service) ((time() - residua_last_sign_of_life_seconds)" + SERVICE + ")",
                "{{service}}",
            ),
        ),
        unit="s",
        steps=(60, 120),
    ),
    Panel(
        "Seconds since the brokers took a heartbeat",
        "A service reaches no broker, or stands still, beyond 60 s: docs/runbook.md#no-heartbeat.",
        (
            (
                "max by (service) ((time() - residua_last_heartbeat_seconds)" + SERVICE + ")",
                "{{service}}",
            ),
        ),
        unit="s",
        steps=(30, 60),
    ),
    Panel(
        "Versions",
        "Two of one service: an upgrade under way, or one that stopped.",
        (("count by (service, version) (residua_build)", "{{service}} {{version}}"),),
        kind="stat",
    ),
    Panel(
        "Runs",
        "Two at once: workers of two configurations wait for each other.",
        (("count by (run) (residua_run)", "{{run}}"),),
        kind="stat",
    ),
    RETRIES,
    DEAD_LETTERS,
    Panel(
        "Templates in the index",
        "Of each worker; all alike once they have read their topic.",
        (("min(residua_templates)", "least"), ("max(residua_templates)", "most")),
    ),
    Panel(
        "Templates of subtractions a minute, by where they came from",
        "From the store where neither memory nor reading ahead had them.",
        rate("residua_template_reads", "source"),
    ),
    Panel(
        "Seconds that Prometheus takes to read a service",
        "A service that is starved of CPU answers late here first.",
        (('max by (instance) (scrape_duration_seconds{job="residua"})', "{{instance}}"),),
        unit="s",
    ),
)

DASHBOARDS = {
    "night": ("Residua: night", NIGHT),
    "delivery": ("Residua: delivery", DELIVERY),
    "quality": ("Residua: quality", QUALITY),
    "catalog-and-access": ("Residua: catalog and access", CATALOG),
    "infrastructure": ("Residua: infrastructure", INFRASTRUCTURE),
}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    instant = panel.kind in {"stat", "bargauge"}
    steps = [{"color": "green", "value": None}]
    if panel.steps:
        colours = ("orange", "red")
        steps += [{"color": c, "value": v} for c, v in zip(colours, panel.steps, strict=True)]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": 8},
    }
    if panel.kind == "alertlist":
        return {
            **made,
            "options": {"viewMode": "list", "stateFilter": {"firing": True, "pending": True}},
        }
    return {
        **made,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": SOURCE,
                "expr": " ".join(expression.split()),
                "legendFormat": legend,
                "format": "heatmap" if panel.kind == "heatmap" else "time_series",
                "instant": instant,
                "range": not instant,
            }
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def dashboard(name: str) -> dict[str, Any]:
    """Make one dashboard."""
    title, panels = DASHBOARDS[name]
    x = y = 0
    made = []
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > 24:
            x, y = 0, y + 8
        made.append(_panel(panel, number, x, y))
        x += panel.width
    links = [
        {
            "title": DASHBOARDS[other][0],
            "type": "link",
            "url": f"/d/residua-{other}",
            "keepTime": True,
        }
        for other in DASHBOARDS
        if other != name
    ]
    return {
        "uid": f"residua-{name}",
        "title": title,
        "tags": ["residua"],
        "editable": False,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-12h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "links": links,
        "panels": made,
    }


def text(name: str) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for each in DASHBOARDS:
        (DIRECTORY / f"{each}.json").write_text(text(each), encoding="utf-8")
