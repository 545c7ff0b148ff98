"""`residua up`: broker, worker and catalog consumer on this machine, until Ctrl-C."""

import time
from pathlib import Path
from typing import Annotated

import typer

from residua.cli.console import OUT, STDERR, one_line_errors

__all__ = ["up"]


def up(
    input_root: Annotated[
        list[str] | None,
        typer.Option(
            "--input-root",
            "-i",
            help="Where visit images may be read; repeatable. By default here and below.",
        ),
    ] = None,
    template_root: Annotated[
        list[str] | None,
        typer.Option(
            "--template-root",
            "-t",
            help="Where templates may be read; repeatable. By default here and below.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where difference images and catalog go.")
    ] = Path("residua-output"),
    output_root: Annotated[
        str | None,
        typer.Option(help="Where difference images go instead, as s3://bucket/prefix."),
    ] = None,
    catalog: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URL of the catalog's database instead of SQLite there."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="First port of /metrics and /live: two workers, catalog and Butler take it and "
            "those after it. By default those of their settings.",
            min=1,
            max=65_000,
        ),
    ] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(help="An existing Kafka; by default a broker inside this process."),
    ] = None,
    template_set: Annotated[str, typer.Option(help="Name of the template set.")] = "default",
) -> None:
    """Start broker, worker and catalog consumer here; print their addresses; stop on Ctrl-C.

    A service that ends by itself is started again, unless it does so again and again.

    The broker inside this process keeps everything in memory: it is for one machine and one
    afternoon. Give `--bootstrap` for a real Kafka.

    Example: `residua up --bootstrap kafka:9092 --output-root s3://images/night
    --catalog postgresql+psycopg://residua@db/residua`
    """
    from residua.demo.local import LocalSystem
    from residua.extras import require_for
    from residua.obscore.opening import shown

    here = [str(Path.cwd())]
    require_for(*(each for each in (output_root, catalog) if each is not None))
    with (
        one_line_errors(),
        LocalSystem(
            output.resolve(),
            input_roots=input_root or here,
            template_roots=template_root or here,
            template_set=template_set,
            bootstrap=bootstrap,
            metrics=True,
            metrics_port=metrics_port,
            output_root=output_root,
            catalog_url=catalog,
        ) as system,
    ):
        OUT.print(f"Kafka    {system.bootstrap}", markup=False)
        OUT.print(f"reads    visits under {', '.join(input_root or here)}", markup=False)
        OUT.print(f"         templates under {', '.join(template_root or here)}", markup=False)
        OUT.print(f"images   {system.output_root}", markup=False)
        OUT.print(f"catalog  {shown(system.catalog_url)}", markup=False)
        OUT.print(f"logs     {system.log_directory}", markup=False)
        OUT.print("Ctrl-C stops everything.")
        try:
            while True:
                time.sleep(1.0)
                for line in system.check():
                    STDERR.print(line, markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            OUT.print("stopping")
