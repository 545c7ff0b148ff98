"""The command line. Each command lives in a module of its own, imported when it runs."""

from typing import Annotated

import typer

from residua.cli.events import (
    announce,
    dead_letters,
    rebuild,
    replay,
    send,
    status,
    templates,
    topics,
)
from residua.cli.images import (
    compare,
    expire,
    explain,
    export,
    inspect,
    recreate,
    subtract,
    sweep,
    verify,
)
from residua.cli.site import butler, catalog, demo, instruments, schemas, serve, up, warm_up

__all__ = ["app", "main"]

app = typer.Typer(
    name="residua",
    help="Difference imaging as a service: visit minus template coadd, when the visit arrives.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("subtract")(subtract.subtract_command)
app.command("inspect")(inspect.inspect)
app.command("up")(up.up)
app.command("send")(send.send)
app.command("announce")(announce.announce)
app.command("status")(status.status)
# Southern declinations are no options.
app.command("explain", context_settings={"ignore_unknown_options": True})(explain.explain)
app.command("compare")(compare.compare)
app.command("serve")(serve.serve)
app.command("export")(export.export_command)
app.command("warm-up")(warm_up.warm_up)
app.command("replay")(replay.replay)
app.command("sweep")(sweep.sweep)
app.command("recreate")(recreate.recreate)
app.command("verify")(verify.verify)
app.command("expire")(expire.expire)
app.command("rebuild")(rebuild.rebuild)
app.command("export-log")(rebuild.export_log)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(butler.app, name="butler")
app.add_typer(catalog.app, name="catalog")
app.add_typer(templates.app, name="templates")
app.add_typer(instruments.app, name="instruments")
app.add_typer(schemas.app, name="schemas")
app.add_typer(topics.app, name="topics")


def _print_version(wanted: bool) -> None:
    if wanted:
        from residua import __version__

        typer.echo(f"residua {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    """Difference imaging as a service: visit minus template coadd, when the visit arrives."""


def main() -> None:
    """Run the command line."""
    app()
