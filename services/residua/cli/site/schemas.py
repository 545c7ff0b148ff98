"""`residua schemas`: the frozen exports of the event contracts."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    help="Write or check the JSON Schemas and the AsyncAPI document of the events.",
    no_args_is_help=True,
)

Directory = Annotated[
    Path, typer.Option("--directory", "-d", help="Where the exports are.", file_okay=False)
]


@app.command("export")
def export_command(directory: Directory = Path("schemas")) -> None:
    """Write the exports of this version. Never overwrites a published version."""
    from residua_schemas.export import FrozenSchemaError, export

    try:
        written = export(directory)
    except FrozenSchemaError as e:
        typer.echo(f"residua: FrozenSchemaError: {e}", err=True)
        raise typer.Exit(1) from e
    for path in written:
        typer.echo(path)


@app.command("check")
def check_command(directory: Directory = Path("schemas")) -> None:
    """Exit 1, naming the files, when the exports are not those of the contracts installed."""
    from residua_schemas.export import FrozenSchemaError, check

    try:
        check(directory)
    except FrozenSchemaError as e:
        typer.echo(f"residua: FrozenSchemaError: {e}", err=True)
        raise typer.Exit(1) from e
    typer.echo(f"{directory} holds the contracts of this installation")
