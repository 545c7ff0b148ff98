"""`residua verify`: whether the images would come back."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from residua.cli.catalog_place import catalog_place
from residua.cli.console import FAILED, NOTHING_TO_DO, OUT, followed, one_line_errors
from residua.cli.images.recreation_options import logs_to_stderr, open_recreator

if TYPE_CHECKING:
    from residua.recreation.verify import Verdict
    from residua_schemas import DifferenceImageCreated

__all__ = ["verify"]

_RESULTS = ("identical", "different", "impossible")


def verify(
    catalog: Annotated[
        str,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ],
    sample: Annotated[int, typer.Option(help="Images drawn at random.", min=1)] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="All images instead of a sample.")
    ] = False,
    run: Annotated[str | None, typer.Option(help="Only images of this run.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Draw the same sample as before; by default another one.")
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the result for Prometheus too: a file of the node exporter's textfile "
            "collector.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make images again and compare them with their checksums, stored or not; keep nothing.

    Exit code 0: all came back byte for byte; 1: one did not, and the table says why; 3: there are
    no images.

    Example: `residua verify --catalog residua-demo --sample 5`

    Example: `residua verify --all --run residua/0/dp1/3f2a9c51d0be --metrics-file residua.prom`
    """
    from residua.obscore.opening import open_existing
    from residua.recreation.verify import all_images, count_images, images, sample_images
    from residua.recreation.verify import verify as verify_images

    logs_to_stderr()
    with one_line_errors(), tempfile.TemporaryDirectory(prefix="residua-verify-") as folder:
        url, roots = catalog_place(catalog)
        assert url is not None
        engine = open_existing(url)
        choice = Random(seed)  # noqa: S311 a sample needs no secrecy
        if everything:
            total = count_images(engine, run)
            drawn: Iterable[DifferenceImageCreated] = all_images(engine, run)
        else:
            drawn = sample_images(engine, sample, choice, images(run))
            total = len(drawn)
        recreator = open_recreator(roots, Path(folder))
        verdicts = followed(verify_images(recreator, drawn), total, "verifying")
        engine.dispose()
    counts: Counter[str] = Counter(v.result for v in verdicts)
    if metrics_file is not None:
        _write_metrics(metrics_file, counts)
    if as_json:
        answer = {name: counts[name] for name in _RESULTS}
        typer.echo(json.dumps({**answer, "images": [asdict(v) for v in verdicts]}, indent=2))
    else:
        _show(verdicts, counts)
    if not verdicts:
        raise typer.Exit(NOTHING_TO_DO)
    if counts["identical"] < len(verdicts):
        raise typer.Exit(FAILED)


def _show(verdicts: "Sequence[Verdict]", counts: Counter[str]) -> None:
    wrong = [v for v in verdicts if v.result != "identical"]
    if wrong:
        table = Table("visit-detector", "run", "result", "why")
        for v in wrong:
            table.add_row(v.visit_detector, v.run, v.result, f"{v.error}: {v.message}")
        OUT.print(table)
    OUT.print(
        f"{counts['identical']} of {len(verdicts)} images came back byte for byte", markup=False
    )


def _write_metrics(path: Path, counts: Counter[str]) -> None:
    from prometheus_client import write_to_textfile

    from residua.metrics import Metrics

    metrics = Metrics()
    metrics.verified({name: counts[name] for name in _RESULTS})
    write_to_textfile(str(path), metrics.registry)
