"""`residua dead-letters`: look at records that could not be read, and send them again."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from residua.cli.console import OUT, STDERR, one_line_errors
from residua.cli.events.letter_text import became, plain, readable, summary

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer
    from aiokafka.structs import RecordMetadata

    from residua.messaging.client import OutgoingRecord
    from residua.messaging.settings import KafkaSettings
    from residua.replay.letters import LetterFilter, ReceivedLetter
    from residua_schemas import DeadLetter

__all__ = ["app"]

app = typer.Typer(
    help="Look at records that could not be read, and send them again.", no_args_is_help=True
)

Bootstrap = Annotated[
    str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
]
TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Only those of this topic, full name.")
]
ErrorOption = Annotated[
    str | None, typer.Option("--error", help="Only those of this error, as MalformedEventError.")
]
ServiceOption = Annotated[
    str | None, typer.Option("--service", help="Only those of this service: worker, catalog.")
]
Everything = Annotated[
    bool, typer.Option("--resolved", help="Also those that were sent again or dismissed.")
]
Since = Annotated[datetime | None, typer.Option(help="Written at or after this time, UTC.")]
Until = Annotated[datetime | None, typer.Option(help="Written before this time, UTC.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_command(
    topic: TopicOption = None,
    error: ErrorOption = None,
    service: ServiceOption = None,
    since: Since = None,
    until: Until = None,
    resolved: Everything = False,
    limit: Annotated[int, typer.Option(help="Most rows; the newest.", min=1)] = 100,
    as_json: AsJson = False,
    bootstrap: Bootstrap = "127.0.0.1:9092",
) -> None:
    """List dead letters, oldest first: place, error, who should act, what is wrong, what became.

    Those that nobody has dealt with; `--resolved` lists the others too.
    """
    with one_line_errors():
        chosen = _chosen(
            bootstrap, _filter(topic, error, service, since, until, unresolved=not resolved)
        )
    if as_json:
        typer.echo(json.dumps([summary(r) for r in chosen[-limit:]], indent=2))
        return
    table = Table("written (UTC)", "place", "error", "for", "message", "became")
    for received in chosen[-limit:]:
        letter = received.letter
        when = f"{received.time:%Y-%m-%d %H:%M:%S}"
        cells = (
            *(when, received.place, letter.error, letter.responsible, letter.message),
            became(received),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    OUT.print(table)
    counts = Counter(r.letter.error for r in chosen)
    by_error = ", ".join(f"{n} {name}" for name, n in counts.most_common())
    total = f"{len(chosen)} dead letters{': ' + by_error if by_error else ''}"
    OUT.print(plain(total), markup=False)


@app.command("show")
def show_command(
    place: Annotated[str, typer.Argument(help="TOPIC/PARTITION/OFFSET, as `list` prints it.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original bytes, nothing else, to stdout.")
    ] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = "127.0.0.1:9092",
) -> None:
    """Show one dead letter whole: what is wrong, headers, key and original bytes."""
    from residua.replay.letters import with_original

    with one_line_errors():
        settings = _settings(bootstrap)
        [received] = _at_places(_chosen(bootstrap, _filter()), [place])
        letter = asyncio.run(with_original(settings, received.letter))
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        return
    if as_json:
        typer.echo(letter.model_dump_json(indent=2))
        return
    for name, value in summary(received).items():
        OUT.print(f"{name}: {plain(str(value))}", markup=False)
    for header in letter.headers:
        OUT.print(f"header {plain(header.name)}: {readable(header.value)}", markup=False)
    OUT.print(f"key: {readable(letter.key)}", markup=False)
    OUT.print(f"value ({len(letter.value or b'')} bytes): {readable(letter.value)}", markup=False)


@app.command("requeue")
def requeue_command(
    places: Annotated[
        list[str] | None, typer.Argument(help="TOPIC/PARTITION/OFFSET, as `list` prints it.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="All unresolved that meet the conditions, instead of places."),
    ] = False,
    resolved: Everything = False,
    topic: TopicOption = None,
    error: ErrorOption = None,
    service: ServiceOption = None,
    since: Since = None,
    until: Until = None,
    rate: Annotated[float | None, typer.Option(help="Most records a second.", min=0.001)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be sent; send nothing.")
    ] = False,
    as_json: AsJson = False,
    bootstrap: Bootstrap = "127.0.0.1:9092",
) -> None:
    """Send the original records again, to their topics: same key, bytes and headers.

    The headers `residua-replay` and `residua-dead-letter` are added. The letter is written again
    with the new place, so that the next `--all` passes it by; a record that is refused again has
    a letter of its own. To send mended bytes, take them with `show --raw`, produce the record
    anew, and `dismiss` the letter.
    """
    if bool(places) == everything:
        raise typer.BadParameter("name places, or give --all")
    with one_line_errors():
        conditions = _filter(
            topic, error, service, since, until, unresolved=everything and not resolved
        )
        chosen = _chosen(bootstrap, conditions)
        if places:
            chosen = _at_places(chosen, places)
        report = asyncio.run(_requeue(_settings(bootstrap), chosen, rate=rate, dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    verb = "would be sent" if dry_run else "sent"
    OUT.print(f"{report['sent']} records {verb}, {report['refused']} cannot be sent")


@app.command("dismiss")
def dismiss_command(
    places: Annotated[
        list[str], typer.Argument(help="TOPIC/PARTITION/OFFSET, as `list` prints it.")
    ],
    bootstrap: Bootstrap = "127.0.0.1:9092",
) -> None:
    """Mark dead letters as dealt with; nothing is sent again and nothing is deleted."""
    from residua.messaging.client import send
    from residua.replay.letters import resolved_record

    with one_line_errors():
        settings = _settings(bootstrap)
        chosen = _at_places(_chosen(bootstrap, _filter()), places)
        records = [resolved_record(settings, r.letter, "dismissed") for r in chosen]
        asyncio.run(send(settings, records))
    OUT.print(f"{len(records)} dismissed")


def _settings(bootstrap: str) -> "KafkaSettings":
    from residua.messaging.settings import KafkaSettings

    return KafkaSettings(kafka_bootstrap=bootstrap)


def _filter(
    topic: str | None = None,
    error: str | None = None,
    service: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    unresolved: bool = False,
) -> "LetterFilter":
    from residua.replay.letters import LetterFilter

    return LetterFilter(topic, error, service, _utc(since), _utc(until), unresolved)


def _chosen(bootstrap: str, conditions: "LetterFilter") -> "list[ReceivedLetter]":
    from residua.replay.letters import read_letters

    with STDERR.status("reading dead letters"):
        letters = asyncio.run(read_letters(_settings(bootstrap)))
    return [received for received in letters if conditions.matches(received)]


def _at_places(
    letters: "Sequence[ReceivedLetter]", places: Sequence[str]
) -> "list[ReceivedLetter]":
    from residua.replay.letters import NoSuchDeadLetterError

    known = {received.place: received for received in letters}
    for place in places:
        if place not in known:
            raise NoSuchDeadLetterError(
                f"no dead letter has the place {place}: `residua dead-letters list` prints them"
            )
    return [known[place] for place in places]


async def _requeue(
    settings: "KafkaSettings",
    letters: "Sequence[ReceivedLetter]",
    *,
    rate: float | None,
    dry_run: bool,
) -> dict[str, int | bool]:
    from residua.messaging.client import producer
    from residua.replay.letters import (
        NotRequeueableError,
        requeued_record,
        resolved_record,
        with_original,
    )

    sent = refused = 0
    begin = time.monotonic()
    async with producer(settings) as client:
        for received in letters:
            letter: DeadLetter = await with_original(settings, received.letter)
            try:
                record = requeued_record(settings, letter)
            except NotRequeueableError as e:
                STDERR.print(e.message, markup=False, soft_wrap=True)
                refused += 1
                continue
            if not dry_run:
                if rate is not None:
                    await asyncio.sleep(max(0.0, begin + sent / rate - time.monotonic()))
                there = await _sent(client, record)
                place = f"{there.topic}/{there.partition}/{there.offset}"
                # Ended between the two, the record is sent once more by the next call.
                await _sent(client, resolved_record(settings, received.letter, "requeued", place))
            sent += 1
    return {"selected": len(letters), "sent": sent, "refused": refused, "dry_run": dry_run}


async def _sent(client: "AIOKafkaProducer", record: "OutgoingRecord") -> "RecordMetadata":
    return await client.send_and_wait(
        record.topic, key=record.key, value=record.value, headers=list(record.headers)
    )


def _utc(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when
