"""`residua catalog`: tend the ObsCore catalog."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from residua.cli.console import OUT, one_line_errors

__all__ = ["app"]

app = typer.Typer(help="Tend the ObsCore catalog.", no_args_is_help=True)


@app.command("rebuild")
def rebuild(
    catalog_url: Annotated[
        str,
        typer.Argument(help="SQLAlchemy URL of an empty database, such as sqlite:///new.sqlite."),
    ],
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; by default from the environment.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fill an empty catalog from Kafka alone; the running catalog goes on beside it.

    Names that stand in rows (RESIDUA_OBS_COLLECTION, ...) and Kafka's security settings come
    from the environment.
    """
    from residua.catalog.rebuild import rebuild_catalog
    from residua.catalog.settings import CatalogSettings

    with one_line_errors():
        settings = CatalogSettings(catalog_url=catalog_url)
        if bootstrap is not None:
            settings = settings.model_copy(update={"kafka_bootstrap": bootstrap})
        report = asyncio.run(rebuild_catalog(settings))
    if as_json:
        import json

        typer.echo(json.dumps(asdict(report)))
        return
    OUT.print(
        f"{report.rows} rows from {report.records} records, {report.refused} refused",
        markup=False,
    )


@app.command("migrate")
def migrate(
    catalog_url: Annotated[
        str | None,
        typer.Argument(help="SQLAlchemy URL; by default RESIDUA_CATALOG_URL."),
    ] = None,
) -> None:
    """Bring the catalog's tables to the newest version; nothing to do is no error.

    The catalog consumer creates what is missing when it starts, and changes no table that is there.
    """
    from residua.catalog.settings import CatalogSettings
    from residua.obscore.migrate import current_version, upgrade

    with one_line_errors():
        url = catalog_url or CatalogSettings().catalog_url
        upgrade(url)
        version = current_version(url)
    OUT.print(f"the catalog is at version {version}", markup=False)


@app.callback()
def _group() -> None:
    """Make this a group also with one command."""
