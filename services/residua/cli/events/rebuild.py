"""`residua rebuild`: everything back from Kafka, or a log of it, and the inputs."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residua.cli.console import FAILED, OUT, STDERR, followed, one_line_errors
from residua.cli.images.recreation_options import logs_to_stderr

if TYPE_CHECKING:
    from residua.messaging.records.events import IncomingRecord
    from residua.recreation.restore import Restored

__all__ = ["export_log", "rebuild"]

_BATCH = 200


def export_log(
    output: Annotated[Path, typer.Argument(help="File to write: one JSON object a line.")],
    bootstrap: Annotated[
        str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
    ] = "127.0.0.1:9092",
) -> None:
    """Write all outcomes and templates of the topics into a file, for `rebuild` and `recreate`.

    Example: `residua export-log outcomes.jsonl --bootstrap kafka:9092`
    """
    from residua.messaging.settings import KafkaSettings
    from residua.recreation.lookup.log import write_log

    with one_line_errors():
        number = asyncio.run(write_log(KafkaSettings(kafka_bootstrap=bootstrap), output))
    OUT.print(f"{output}: {number} records", markup=False)


def rebuild(
    output_root: Annotated[
        str,
        typer.Argument(
            help="Root of the difference images, where their outcomes say they lie (or "
            "RESIDUA_MOVED_ROOTS).",
            envvar="RESIDUA_OUTPUT_ROOT",
        ),
    ],
    catalog: Annotated[
        str,
        typer.Option(help="SQLAlchemy URL of an empty database.", envvar="RESIDUA_CATALOG_URL"),
    ],
    log: Annotated[
        Path | None,
        typer.Option(
            help="Log that `residua export-log` wrote, instead of Kafka.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    bootstrap: Annotated[
        str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
    ] = "127.0.0.1:9092",
    butler: Annotated[
        str | None, typer.Option(help="Butler repository to register everything in, too.")
    ] = None,
    zero_point: Annotated[
        float | None,
        typer.Option(help="Zero point of the runs, if they had one and run.json is gone."),
    ] = None,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="The runs were lossless, and run.json is gone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring everything back after a fire: from Kafka, or a log of it, and the inputs.

    Difference images, previews and detections that are gone are made again, with the bytes, names
    and identities they had; ledgers are put back, so that workers repeat their outcomes; then the
    empty catalog is filled. What stands is left as it is: after an interruption, delete the
    half-filled database and give the same command again. Exit code 1: an image did not come back.

    Names that stand in rows (RESIDUA_OBS_COLLECTION, ...) come from the environment.

    Example: `residua rebuild s3://difference-images --catalog sqlite:///new.sqlite --log all.jsonl`
    """
    logs_to_stderr()
    with one_line_errors():
        records = _records(log, bootstrap)
        restored, entries = _restore(output_root, records, zero_point, lossless=lossless)
        rows, refused = _fill(catalog, output_root, records)
        if butler is not None:
            refused += _register(butler, output_root, records)
    counts = Counter(str(one.result) for one in restored)
    lost = [one for one in restored if one.result == "lost"]
    answer = {
        "images_made": counts["made"],
        "images_there": counts["there"],
        "images_lost": [
            {"dataset_id": str(one.outcome.dataset_id), "reason": one.reason} for one in lost
        ],
        "ledger_entries": entries,
        "rows": rows,
        "refused": refused,
    }
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        for one in lost:
            STDERR.print(f"lost {one.outcome.dataset_id}: {one.reason}", markup=False)
        OUT.print(
            f"{counts['made']} images made, {counts['there']} were there, {len(lost)} lost; "
            f"{entries} ledger entries, {rows} rows, {refused} records refused",
            markup=False,
        )
    if lost:
        raise typer.Exit(FAILED)


def _records(log: Path | None, bootstrap: str) -> "list[IncomingRecord]":
    from residua.messaging.settings import KafkaSettings
    from residua.recreation.lookup.log import read_log, records_of_topics

    if log is not None:
        return list(read_log(log))

    async def read() -> "list[IncomingRecord]":
        settings = KafkaSettings(kafka_bootstrap=bootstrap)
        return [record async for record in records_of_topics(settings)]

    return asyncio.run(read())


def _restore(
    output_root: str,
    records: "Sequence[IncomingRecord]",
    zero_point: float | None,
    *,
    lossless: bool,
) -> "tuple[list[Restored], int]":
    from residua.recreation import RecreationSettings, Recreator
    from residua.recreation.restore import in_force, outcomes_of, restore_images, restore_ledgers

    outcomes = outcomes_of(records)
    entries = restore_ledgers(output_root, outcomes, zero_point=zero_point, lossless=lossless)
    # The runs' own records are read where they were put back.
    settings = RecreationSettings(output_root=output_root)
    with tempfile.TemporaryDirectory(prefix="residua-rebuild-") as folder:
        recreator = Recreator(settings, Path(folder), preview=True)
        found = restore_images(recreator, output_root, outcomes)
        return followed(found, len(in_force(outcomes)), "rebuilding"), entries


def _fill(catalog: str, output_root: str, records: "Sequence[IncomingRecord]") -> tuple[int, int]:
    from residua.catalog.rebuild import fill_catalog
    from residua.catalog.settings import CatalogSettings
    from residua_schemas import DIFFERENCE_IMAGES

    settings = CatalogSettings(catalog_url=catalog)
    if not settings.detection_roots:
        settings = settings.model_copy(update={"detection_roots": (output_root,)})
    report = fill_catalog(settings, records, DIFFERENCE_IMAGES.name)
    return report.rows, report.refused


def _register(repo: str, output_root: str, records: "Sequence[IncomingRecord]") -> int:
    from residua.butler.registering.kafka_records import register_records
    from residua.butler.registering.registrar import Registrar
    from residua.butler.repository import create_repository, open_repository
    from residua.instruments import InstrumentRegistry
    from residua.recreation import RecreationSettings
    from residua_schemas import DIFFERENCE_IMAGES

    settings = RecreationSettings()
    create_repository(repo)
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler,
            instruments=InstrumentRegistry(settings.instrument_directories),
            output_root=output_root,
            template_roots=settings.template_roots or _folders_of_templates(records),
        )
        batches = (records[n : n + _BATCH] for n in range(0, len(records), _BATCH))
        return sum(
            len(register_records(registrar, batch, DIFFERENCE_IMAGES.name)) for batch in batches
        )


def _folders_of_templates(records: "Sequence[IncomingRecord]") -> list[str]:
    """Return where templates lie: roots guard services from events, and not a person at home."""
    from pydantic import ValidationError

    from residua_schemas import TEMPLATE_COADDS, TemplateCoadd

    folders = set()
    for record in records:
        if record.topic == TEMPLATE_COADDS.name and record.value is not None:
            with suppress(ValidationError):
                uri = TemplateCoadd.model_validate_json(record.value).uri
                folders.add(uri.rpartition("/")[0])
    return sorted(folders - {""})
