"""`residua butler`: make a Butler repository, and say what is in it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from residua.cli.console import OUT, one_line_errors

__all__ = ["app"]

app = typer.Typer(
    help="Find difference images where Rubin's users look for them.", no_args_is_help=True
)

Repo = Annotated[
    str, typer.Argument(help="Directory or URI of the repository.", envvar="RESIDUA_BUTLER_REPO")
]
Collection = Annotated[
    str, typer.Option(help="Chain that users open.", envvar="RESIDUA_BUTLER_COLLECTION")
]


@app.command("init")
def init(
    repo: Repo,
    registry: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the registry, such as postgresql+psycopg://host/database "
            "(with the extension btree_gist); SQLite inside REPO by default."
        ),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="Schema of the registry's tables in PostgreSQL.")
    ] = None,
    datastore_root: Annotated[
        str | None,
        typer.Option(help="Root of files recorded by relative path; REPO by default."),
    ] = None,
    collection: Collection = "residua",
) -> None:
    """Make a repository for difference images and template coadds.

    A repository that is there stays as it is.

    Example: `residua butler init repo --datastore-root s3://difference-images`
    """
    from residua.butler.repository import create_repository, opening_lines

    with one_line_errors():
        created = create_repository(
            repo,
            registry_url=registry,
            namespace=schema,
            datastore_root=datastore_root,
            collection=collection,
        )
    OUT.print(f"{'made' if created else 'already there'}: {repo}", markup=False)
    OUT.print(opening_lines(repo, collection), markup=False, soft_wrap=True)


@app.command("status")
def status(
    repo: Repo,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Count the datasets in each run: those whose files are stored, and those made on demand."""
    from residua.butler.repository import open_repository, repository_contents

    with one_line_errors(), open_repository(repo) as butler:
        counts = repository_contents(butler)
    if as_json:
        for count in counts:
            typer.echo(json.dumps(asdict(count)))
        return
    table = Table("run", "dataset type", "datasets", "stored", "made on demand")
    for count in counts:
        stored = count.datasets - count.on_demand
        row = (count.datasets, stored, count.on_demand)
        table.add_row(count.run, count.dataset_type, *map(str, row))
    OUT.print(table)
