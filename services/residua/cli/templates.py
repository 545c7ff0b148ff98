"""`residua templates`: make template coadds known to the workers."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from residua.cli.console import OUT, STDERR, one_line_errors
from residua.cli.file_options import AS_THE_FILE_SAYS, FileOptions, with_file_options

__all__ = ["app"]

app = typer.Typer(help="Register template coadds, and list those in force.", no_args_is_help=True)

Bootstrap = Annotated[
    str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
]
TemplateSet = Annotated[str, typer.Option(help="Name of the template set.")]


@app.command("register")
@with_file_options
def register(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Template coadds or patches (FITS).")
    ] = None,
    bootstrap: Bootstrap = "127.0.0.1:9092",
    template_set: TemplateSet = "default",
    band: Annotated[
        str | None,
        typer.Option(help="Band of the files, whatever their headers say of the filter."),
    ] = None,
    options: FileOptions = AS_THE_FILE_SAYS,
    butler: Annotated[
        str | None, typer.Option(help="Butler repository to take templates from.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="Collection in that repository; several with commas.")
    ] = None,
    where: Annotated[str, typer.Option(help="Butler expression that chooses among them.")] = "",
) -> None:
    """Read each file's footprint and publish it on `template-coadds`.

    Registering a file again replaces it; the worker takes it up at once.

    Example: `residua templates register coadds/*.fits --template-set dp1`

    Example: `residua templates register --butler repo --collection LSSTComCam/DP1`
    """
    from residua.distinct import distinct_templates
    from residua.messaging.client import event_record, send
    from residua.messaging.settings import KafkaSettings
    from residua.storage.describe import describe_template
    from residua_schemas import TEMPLATE_COADDS

    if not files and butler is None:
        raise typer.BadParameter("give files, or a repository (--butler and --collection)")
    if (butler is None) != (collection is None):
        raise typer.BadParameter("--butler and --collection go together")
    with one_line_errors():
        settings = KafkaSettings(kafka_bootstrap=bootstrap)
        known = options.registry()
        with STDERR.status("reading"):
            templates = [
                describe_template(
                    str(f.resolve()),
                    template_set=template_set,
                    band=band,
                    instruments=known,
                    reading=options.reading(f),
                )
                for f in files or ()
            ]
            if butler is not None and collection is not None:
                from residua.butler.find import templates_in_repository

                templates += templates_in_repository(
                    butler, collection, template_set, where=where, instruments=known
                )
        distinct_templates(templates)
        topic = settings.topic_name(TEMPLATE_COADDS)
        records = [event_record(topic, t, t.key, source="/residua/cli") for t in templates]
        asyncio.run(send(settings, records))
    for template in templates:
        OUT.print(template.key.decode(), markup=False)


@app.command("list")
def list_command(
    bootstrap: Bootstrap = "127.0.0.1:9092",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the template coadds in force: the newest record under each key."""
    from residua.errors import ResiduaError
    from residua.messaging.client import read_to_end
    from residua.messaging.events import incoming, parse_event
    from residua.messaging.newest import NewestByKey
    from residua.messaging.settings import KafkaSettings
    from residua_schemas import TEMPLATE_COADDS, TemplateCoadd

    async def read() -> dict[bytes, TemplateCoadd]:
        settings = KafkaSettings(kafka_bootstrap=bootstrap)
        found: dict[bytes, TemplateCoadd] = {}
        newest = NewestByKey()
        async for r in read_to_end(settings, settings.topic_name(TEMPLATE_COADDS)):
            record = incoming(r)
            if record.is_tombstone:
                key = record.key or b""
                if newest.take(key, record):
                    found.pop(key, None)
                continue
            try:
                template = parse_event(record, TemplateCoadd.model_validate_json, "template coadd")
            except ResiduaError as e:
                STDERR.print(e.message, markup=False, soft_wrap=True)
                continue
            key = record.key or template.key
            if newest.take(key, record):
                found[key] = template
        return found

    with one_line_errors():
        templates = [t for _, t in sorted(asyncio.run(read()).items())]
    if as_json:
        for template in templates:
            typer.echo(json.dumps(template.model_dump(mode="json", exclude_none=True)))
        return
    table = Table("set", "band", "skymap", "tract", "patch", "file")
    for t in templates:
        table.add_row(t.template_set, t.band, t.skymap, str(t.tract), str(t.patch), t.uri)
    OUT.print(table)
