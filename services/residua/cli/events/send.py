"""`residua send`: announce visit images."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from residua.cli.console import OUT, STDERR, one_line_errors
from residua.cli.images.file_options import (
    AS_THE_FILE_SAYS,
    DetectorFrom,
    FileOptions,
    VisitFrom,
    with_file_options,
)
from residua.cli.startup import without_butler

__all__ = ["send"]


@with_file_options
def send(
    files: Annotated[list[Path], typer.Argument(help="Visit images (FITS).")],
    bootstrap: Annotated[
        str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
    ] = "127.0.0.1:9092",
    band: Annotated[str | None, typer.Option(help="Band of files that name none.")] = None,
    visit_from: VisitFrom = None,
    detector_from: DetectorFrom = None,
    options: FileOptions = AS_THE_FILE_SAYS,
    revision: Annotated[int, typer.Option(help="Raise it to have images made again.", min=0)] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the events instead of sending them.")
    ] = False,
) -> None:
    """Send a visit-arrival event for each file, with what its header says.

    Sending the same file again changes nothing downstream: identities are derived.

    Example: `residua send night/*.fits --bootstrap kafka:9092`
    """
    from residua.messaging.client import send as send_records
    from residua.messaging.client import traced_record
    from residua.messaging.settings import KafkaSettings
    from residua.storage.describe import describe_visit_image
    from residua.storage.distinct import distinct_arrivals
    from residua.telemetry.tracing import configure_tracing
    from residua_schemas import VISIT_ARRIVALS

    with one_line_errors(), without_butler():
        settings = KafkaSettings(kafka_bootstrap=bootstrap)
        configure_tracing(settings, "cli")
        topic = settings.topic_name(VISIT_ARRIVALS)
        known = options.registry()
        with STDERR.status("reading headers"):
            arrivals = [
                describe_visit_image(
                    str(f.resolve()),
                    band=band,
                    visit_from=visit_from,
                    detector_from=detector_from,
                    instruments=known,
                    reading=options.reading(f),
                ).model_copy(update={"revision": revision})
                for f in files
            ]
        distinct_arrivals(arrivals)
        if dry_run:
            for arrival in arrivals:
                typer.echo(arrival.model_dump_json(exclude_none=True))
            return
        records = [
            traced_record(topic, a, a.visit_detector.key, source="/residua/cli") for a in arrivals
        ]
        count = asyncio.run(send_records(settings, records))
    OUT.print(f"{count} visit arrivals sent to {topic} on {bootstrap}", markup=False)
