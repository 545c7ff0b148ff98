"""`residua instruments`: descriptions of instruments, shipped and your own."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from residua.cli.console import FAILED, OUT, one_line_errors
from residua.cli.images.file_options import Extension, Instruments, registry_of

__all__ = ["app"]

app = typer.Typer(
    help="List, show, check and draft descriptions of instruments.", no_args_is_help=True
)


@app.command("list")
def list_command(instruments: Instruments = None) -> None:
    """List the instruments that are described, your own first.

    Example: `residua instruments list --instruments my-cameras`
    """
    with one_line_errors():
        known = registry_of(instruments)
    table = Table("name", "facility", "detectors", "bands")
    for i in known:
        bands = list(dict.fromkeys(f.band for f in i.filters))
        table.add_row(i.name, i.facility_name, str(len(i.detectors) or "-"), " ".join(bands))
    OUT.print(table)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of the instrument.")],
    instruments: Instruments = None,
) -> None:
    """Print all that is known about an instrument, as JSON."""
    with one_line_errors():
        known = registry_of(instruments)
        names = [i.name for i in known]
        if name not in names:
            typer.echo(f"residua: no description of {name}; there are {', '.join(names)}", err=True)
            raise typer.Exit(FAILED)
        typer.echo(json.dumps(dataclasses.asdict(known.get(name)), indent=2, default=str))


@app.command("check")
def check(file: Annotated[Path, typer.Argument(help="Description (YAML).", exists=True)]) -> None:
    """Check a description; what is wrong in it is named by its field.

    Exit codes: 0 it can be used; 1 it cannot.
    """
    from residua.instruments.file import instrument_from_yaml

    with one_line_errors():
        found = instrument_from_yaml(file.read_text(encoding="utf-8"), str(file))
    for what, missing in (
        ("no filters: bands come from the headers alone", not found.filters),
        ("no wavelengths: ObsCore rows will have none", not any(f.em_min for f in found.filters)),
        ("no site: hour angles and elevations are unknown", found.latitude is None),
        (
            "no visit_from: VISIT, EXPNUM, EXPID and IDNUM are taken to be unique for ever",
            not found.visit_from,
        ),
        (
            "nothing to recognise it by but its name",
            not (found.recognise or found.recognise_cards),
        ),
    ):
        if missing:
            OUT.print(f"note: {what}", markup=False)
    OUT.print(f"{file.name} describes {found.name} ({found.facility_name})", markup=False)


@app.command("new")
def new(
    file: Annotated[Path, typer.Argument(help="An image of the instrument (FITS).")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: print.")
    ] = None,
    extension: Extension = None,
) -> None:
    """Draft a description from the header of one of the instrument's files.

    Example: `residua instruments new mine.fits -o my-cameras/mine.yaml`
    """
    from residua.storage.understanding import draft_from_file

    with one_line_errors():
        text = draft_from_file(str(file.resolve()), extension)
        if output is None:
            typer.echo(text, nl=False)
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    OUT.print(f"{output} drafted; complete it, then: residua instruments check {output}")


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of descriptions, for editors that check YAML while you type."""
    from residua.instruments.file import InstrumentFile

    typer.echo(json.dumps(InstrumentFile.model_json_schema(), indent=2))
