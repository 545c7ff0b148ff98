"""`residua inspect`: what is understood of a file, and what is not."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from residua.cli.console import FAILED, OUT, one_line_errors
from residua.cli.images.file_options import (
    AS_THE_FILE_SAYS,
    DetectorFrom,
    FileOptions,
    VisitFrom,
    companions,
    with_file_options,
)
from residua.cli.startup import without_butler

if TYPE_CHECKING:
    from residua.storage.understanding import Understanding

__all__ = ["inspect"]


@with_file_options
def inspect(
    files: Annotated[list[Path], typer.Argument(help="Images (FITS).")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file.")] = False,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Do not decode the pixels.")
    ] = False,
    band: Annotated[str | None, typer.Option(help="Band, whatever the header says.")] = None,
    zero_point: Annotated[
        float | None, typer.Option(help="AB zero point of files that state none.")
    ] = None,
    visit_from: VisitFrom = None,
    detector_from: DetectorFrom = None,
    options: FileOptions = AS_THE_FILE_SAYS,
) -> None:
    """Show what is understood of each file: identity, band, flux scale, noise, mask, WCS, time.

    Below it stands what had to be assumed, and what was found and not used. The options are
    those of `subtract` and `send`.

    Example: `residua inspect mine.fits`

    Exit codes: 0 all files can be used; 1 some cannot.
    """
    from residua.storage.understanding import understand

    found = []
    with one_line_errors(), without_butler():
        known = options.registry()
        for file in files:
            reading = options.reading(file)
            found.append(
                understand(
                    str(file.resolve()),
                    instruments=known,
                    zero_point=zero_point,
                    visit_from=visit_from,
                    detector_from=detector_from,
                    band=band,
                    reading=reading,
                    companions={r: p.read_bytes() for r, p in companions(reading).items()},
                    pixels=not headers_only,
                )
            )
    for each in found:
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(each), indent=2))
        else:
            _print(each)
    if any(each.refused for each in found):
        raise typer.Exit(FAILED)


def _print(found: "Understanding") -> None:
    table = Table(title=Path(found.file).name, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    for row in found.rows:
        table.add_row(row.what, row.value, row.source)
    if found.planes:
        planes = ", ".join(f"{name} {100.0 * f:.3g} %" for name, f in found.planes.items())
        table.add_row("flagged", planes, "")
    OUT.print(table)
    for note in found.notes:
        OUT.print(f"note: {note}", markup=False, soft_wrap=True)
    if found.refused:
        OUT.print(f"REFUSED: {found.refused}", markup=False, soft_wrap=True)
