"""What a panel of a dashboard is, the questions that many ask, and panels of several dashboards."""

from dataclasses import dataclass

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


def age(metric: str) -> tuple[tuple[str, str], ...]:
    """Ask how many seconds ago something was last, in the process of each service that is worst."""
    return ((f"max by (service) ((time() - {metric}){SERVICE})", "{{service}}"),)


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
