"""`residua replay`: send arrivals again."""

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from residua.cli.catalog_place import catalog_place
from residua.cli.console import OUT, STDERR, one_line_errors

if TYPE_CHECKING:
    from residua.messaging.settings import KafkaSettings
    from residua.replay import ProgressFile, Selection, Target
    from residua.replay.catalogued.from_catalog import CatalogSource
    from residua.replay.operation import ReplayReport

__all__ = ["range_of", "replay"]

_STATES = ("created", "skipped", "failed", "dead", "none")


def replay(
    since: Annotated[
        datetime | None, typer.Option(help="Announced at or after this time, UTC.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Announced before this time, UTC.")] = None,
    day_obs: Annotated[
        str | None, typer.Option(help="Observing day YYYYMMDD, or FIRST:LAST.")
    ] = None,
    visits: Annotated[str | None, typer.Option(help="Visit number, or FIRST:LAST.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Instrument.")] = None,
    detector: Annotated[list[int] | None, typer.Option(help="Detector number; repeatable.")] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(
            help="What became of it: created, skipped, failed, dead (a dead letter that can be "
            "read now), none (nothing yet); repeatable."
        ),
    ] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(
            help="Places in the arrivals' topic, PARTITION:FIRST-LAST; repeatable.",
            metavar="PARTITION:FIRST-LAST",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All arrivals: needed when nothing is selected.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option(help="Run whose outcomes count; by default that of the newest outcome."),
    ] = None,
    label: Annotated[
        str, typer.Option(help="Into a new run of this label, beside the one there is.")
    ] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Also where an outcome exists: with the next revision."),
    ] = False,
    rate: Annotated[float | None, typer.Option(help="Most arrivals a second.", min=0.001)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be sent; send nothing.")
    ] = False,
    progress_file: Annotated[
        Path | None,
        typer.Option(
            help="Remembers what was sent: the same command goes on after an interruption.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`: asked "
            "instead of reading the topics whole.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ] = None,
    group: Annotated[
        str, typer.Option(help="The workers' consumer group.", envvar="RESIDUA_CONSUMER_GROUP")
    ] = "residua-worker",
    catalog_group: Annotated[
        str, typer.Option(help="The catalog's consumer group.", envvar="RESIDUA_CATALOG_GROUP")
    ] = "residua-catalog",
    bootstrap: Annotated[
        str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
    ] = "127.0.0.1:9092",
) -> None:
    """Send arrivals again, as they were, to be processed into the same run or a new one.

    Without `--force`, arrivals that have an outcome in the run are left alone. Records carry the
    header `residua-replay`. Arrivals whose records are past their retention are taken from their
    outcomes.

    Example: `residua replay --outcome failed --day-obs 20261122 --force --dry-run`

    Example: `residua replay --visits 100:200 --label better --rate 5 --progress-file p.jsonl`
    """
    from residua.messaging.settings import KafkaSettings
    from residua.replay import ProgressFile, Selection, Target
    from residua.replay.catalogued.from_catalog import CatalogSource
    from residua.replay.record_headers import is_run_label

    selection = Selection(
        since=_utc(since),
        until=_utc(until),
        day_obs=range_of("--day-obs", day_obs),
        visits=range_of("--visits", visits),
        instrument=instrument,
        detectors=frozenset(detector or ()),
        states=frozenset(_states(outcome or [])),
        offsets=tuple(_offsets(text) for text in offsets or ()),
    )
    if selection == Selection() and not everything:
        raise typer.BadParameter("select something, or give --all")
    if label and not is_run_label(label):
        raise typer.BadParameter("1 to 32 letters, digits, '_', '.' or '-'", param_hint="--label")
    target = Target(run, label, force)
    with one_line_errors():
        url, _ = catalog_place(catalog)
        report = asyncio.run(
            _replay(
                KafkaSettings(kafka_bootstrap=bootstrap),
                selection,
                target,
                rate=rate,
                dry_run=dry_run,
                progress=ProgressFile(progress_file) if progress_file else None,
                catalog=CatalogSource(url, group, catalog_group) if url else None,
            )
        )
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        _show(report)


async def _replay(
    settings: "KafkaSettings",
    selection: "Selection",
    target: "Target",
    *,
    rate: float | None,
    dry_run: bool,
    progress: "ProgressFile | None",
    catalog: "CatalogSource | None",
) -> "ReplayReport":
    from residua.replay.operation import run_replay

    bar = Progress(
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=STDERR,
        disable=not STDERR.is_terminal,
    )
    task = bar.add_task("replaying", total=None)
    with bar:
        return await run_replay(
            settings,
            selection,
            target,
            rate=rate,
            dry_run=dry_run,
            progress=progress,
            catalog=catalog,
            on_progress=lambda sent, total: bar.update(task, completed=sent, total=total),
        )


def _show(report: "ReplayReport") -> None:
    table = Table(show_header=False)
    by_outcome = ", ".join(f"{n} {state}" for state, n in report.selected_by_outcome.items() if n)
    rows = {
        "run": report.run or "no outcomes yet",
        "into": report.target_run or "the workers' run",
        "selected": f"{report.selected} ({by_outcome})" if by_outcome else "0",
        "have an outcome, left alone": report.already_done,
        "unreadable records": report.unreadable,
        "sent earlier": report.sent_before,
        "would be sent" if report.dry_run else "sent": (
            report.to_send - report.sent_before if report.dry_run else report.sent
        ),
        "replay": report.replay,
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    OUT.print(table)
    if report.already_done and not report.sent:
        OUT.print("--force has arrivals with an outcome made again, --label makes a new run.")


def _utc(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def range_of(option: str, text: str | None) -> tuple[int, int] | None:
    """Read ``N`` or ``FIRST:LAST`` of an option."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        limits = int(first), int(last) if colon else int(first)
    except ValueError as e:
        raise typer.BadParameter(f"{text!r} is neither N nor FIRST:LAST", param_hint=option) from e
    if limits[1] < limits[0]:
        raise typer.BadParameter(f"{text!r} ends before it begins", param_hint=option)
    return limits


def _states(words: list[str]) -> list[Any]:
    for word in words:
        if word not in _STATES:
            raise typer.BadParameter(
                f"{word!r} is none of {', '.join(_STATES)}", param_hint="--outcome"
            )
    return list(words)


def _offsets(text: str) -> Any:
    from residua.replay import OffsetRange

    partition, _, places = text.partition(":")
    first, _, last = places.partition("-")
    try:
        return OffsetRange(int(partition), int(first), int(last or first))
    except ValueError as e:
        raise typer.BadParameter(
            f"{text!r} is not PARTITION:FIRST-LAST", param_hint="--offsets"
        ) from e
