"""`residua templates`: make template coadds known to the workers."""

import asyncio
import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from residua.cli.console import OUT, STDERR, one_line_errors
from residua.cli.images.file_options import AS_THE_FILE_SAYS, FileOptions, with_file_options

__all__ = ["app"]

app = typer.Typer(
    help="Make templates of exposures, register template coadds, and list those in force.",
    no_args_is_help=True,
)

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
    from residua.messaging.client import event_record, send
    from residua.messaging.settings import KafkaSettings
    from residua.storage.describe import describe_template
    from residua.storage.distinct import distinct_templates
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
                from residua.butler.locations import templates_in_repository

                templates += templates_in_repository(
                    butler, collection, template_set, where=where, instruments=known
                )
        distinct_templates(templates)
        topic = settings.topic_name(TEMPLATE_COADDS)
        records = [event_record(topic, t, t.key, source="/residua/cli") for t in templates]
        asyncio.run(send(settings, records))
    for template in templates:
        OUT.print(template.key.decode(), markup=False)


@app.command("build")
@with_file_options
def build(
    files: Annotated[
        list[Path], typer.Argument(help="Earlier exposures (FITS), two or more, of one filter.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The template to write (FITS).")],
    band: Annotated[
        str | None, typer.Option(help="Band of the files, whatever their headers say.")
    ] = None,
    zero_point: Annotated[
        float | None,
        typer.Option(help="AB zero point of files that state none; brings them to nJy."),
    ] = None,
    widest_seeing: Annotated[
        float | None,
        typer.Option(help="Leave out exposures with a wider PSF (FWHM, arcsec).", min=0),
    ] = None,
    options: FileOptions = AS_THE_FILE_SAYS,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    threads: Annotated[int, typer.Option(help="Threads; never changes a bit.", min=1)] = 2,
) -> None:
    """Make one template of several earlier exposures, where there is no coadd.

    The exposure of the widest PSF is the reference: the template has its pixels, its zero point
    and its PSF. The others are registered, warped, scaled and convolved to it, as the subtraction
    does with a template, and averaged with weights by their noise. What stands in one exposure
    alone (a cosmic ray, a satellite, an asteroid) is left out; with two exposures, the brighter of
    two pixels that differ. One bad night widens the PSF of all: leave it out with
    --widest-seeing. Exposures of the same night as the visit would subtract its transients.

    The file holds IMAGE, VARIANCE and MASK (CLIPPED where something was left out), COVERAGE (the
    number of exposures), and cards with each exposure's checksum, weight, scale and PSF.

    Example: `residua templates build old/r_*.fits -o template_r.fits`

    Then: `residua subtract tonight.fits template_r.fits -o difference.fits`

    Exit codes: 0 done; 1 fewer than two exposures can be used; 2 wrong command line.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from residua.coadds.build import build_template

    with one_line_errors():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=STDERR, transient=True) as progress:
            task = progress.add_task("measuring", total=2 * len(files))

            def step(name: str) -> None:
                progress.update(task, advance=1, description=Path(name).name)

            built = build_template(
                [str(f.resolve()) for f in files],
                output,
                readings=[options.reading(f) for f in files],
                instruments=options.registry(),
                zero_point=zero_point,
                band=band,
                widest_seeing=widest_seeing,
                threads=threads,
                on_step=step,
            )
    if as_json:
        summary = dataclasses.asdict(built) | {"path": str(built.path)}
        typer.echo(json.dumps(_without_nan(summary)))
        return
    table = Table("exposure", "FWHM", "weight", "scale", "left out", title=str(built.path))
    for found in built.inputs:
        numbers = [f"{found.weight:.3f}", f"{found.scale:.4f}", f"{found.clipped:.3%}"]
        row = ["", "", found.refused] if found.refused else numbers
        table.add_row(found.uri.rsplit("/", 1)[-1], f"{found.fwhm:.2f}", *row)
    OUT.print(table)
    x, y = built.correlation
    OUT.print(
        f"PSF {built.fwhm:.2f} arcsec; noise {built.noise:.4g} {built.unit}, correlated {x:.2f} "
        f"and {y:.2f} with the next pixel; {built.covered:.1%} covered, {built.fully_covered:.1%} "
        "by all",
        markup=False,
    )


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nan(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@app.command("list")
def list_command(
    bootstrap: Bootstrap = "127.0.0.1:9092",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the template coadds in force: the newest record under each key."""
    from residua.errors import ResiduaError
    from residua.messaging.client import read_to_end
    from residua.messaging.records.events import incoming, parse_event
    from residua.messaging.records.newest import NewestByKey
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
