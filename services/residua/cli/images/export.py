"""`residua export`: a difference image in another layout."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from residua.cli.console import OUT, USAGE, one_line_errors

__all__ = ["Layout", "export_command"]


class Layout(StrEnum):
    """Layouts a difference image can be exported in."""

    DP1 = "dp1"


def export_command(
    dataset: Annotated[
        str, typer.Argument(help="Dataset id in the Butler repository, or a file or URI.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="FITS file to write.")],
    layout: Annotated[
        Layout, typer.Option(help="dp1: IMAGE, MASK with MP_ cards, VARIANCE.")
    ] = Layout.DP1,
    butler: Annotated[
        str | None,
        typer.Option(help="Butler repository to look in.", envvar="RESIDUA_BUTLER_REPO"),
    ] = None,
) -> None:
    """Write a difference image in the layout of Rubin's Data Preview 1.

    Pixels, variances and mask planes stay the same. The stack's tables of PSF and exact WCS
    are not there; the WCS is in the header.

    Example: `residua export 0d5f4b8e-6f0e-5a63-9d1e-2f5a3b7c9e11 --butler repo -o image.fits`
    """
    from lsst.resources import ResourcePath

    from residua.storage.objects import publish, read_object
    from residua.storage.write.dp1_export import dp1_layout

    with one_line_errors():
        identity = _uuid(dataset)
        if identity is None:
            location = ResourcePath(dataset, forceAbsolute=True)
        elif butler is None:
            typer.echo("residua: a dataset id needs a repository: --butler REPO", err=True)
            raise typer.Exit(USAGE)
        else:
            from residua.butler.locations import dataset_location

            location = dataset_location(butler, identity)
        content, _ = read_object(location, None)
        exported = dp1_layout(content, str(location))

        def write(path: Path) -> None:
            path.write_bytes(exported)

        publish(
            ResourcePath(str(output.resolve().parent), forceDirectory=True),
            write,
            lambda _: output.name,
        )
    OUT.print(f"{layout}: {output}", markup=False)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
