"""The panels that ask how the services do: catalog and access, infrastructure."""

from deploy.grafana.panel import (
    DEAD_LETTERS,
    RANGE,
    RATE,
    RETRIES,
    SERVICE,
    Panel,
    age,
    quantiles,
    rate,
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
        rate("residua_recreations", "result"),
    ),
    Panel(
        "Images made again by the access service a minute",
        "For cutouts, files and the page, where nobody else makes them.",
        rate("residua_access_recreations", "result"),
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
                    f'(sum(increase(residua_access_request_seconds_count{{status=~"5.."}}[{RANGE}])) '
                    f"or vector(0)) / sum(increase(residua_access_request_seconds_count[{RANGE}]))"
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
        age("residua_last_sign_of_life_seconds"),
        unit="s",
        steps=(60, 120),
    ),
    Panel(
        "Seconds since the brokers took a heartbeat",
        "A service reaches no broker, or stands still, beyond 60 s: docs/runbook.md#no-heartbeat.",
        age("residua_last_heartbeat_seconds"),
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
        "CPU seconds of a visit-detector",
        "What one costs, whole: how many cores a night needs, docs/how-to/size.md.",
        quantiles("residua_cpu_seconds"),
        unit="s",
    ),
    Panel(
        "Seconds to find an arrival's templates",
        "In the index of the worker; more than a few ms: too many templates overlap there.",
        quantiles("residua_template_lookup_seconds"),
        unit="s",
    ),
    Panel(
        "Free part of local disks",
        "An alert pages below 5 %: docs/runbook.md#disk-nearly-full.",
        (("min by (instance, place) (residua_disk_free_fraction)", "{{instance}} {{place}}"),),
        unit="percentunit",
    ),
    Panel(
        "Images that were verified last, by result",
        "From `residua verify --metrics-file`. Other than identical: docs/runbook.md#verify-mismatch.",
        (("sum by (result) (residua_verified_images)", "{{result}}"),),
        kind="bargauge",
    ),
    Panel(
        "Hours since images were verified",
        "Of the last `residua verify --metrics-file`.",
        (("(time() - max(residua_verify_time_seconds)) / 3600", "hours"),),
        kind="stat",
        unit="h",
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
