"""`residua compare`: the same visits under two runs."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from residua.cli.catalog_place import catalog_place
from residua.cli.console import FAILED, OUT, one_line_errors

if TYPE_CHECKING:
    from residua.access.page.compare import Comparison

__all__ = ["compare"]

_SECONDS = 600.0
_PAIRS = 10


def compare(
    run_a: Annotated[str, typer.Argument(help="Run that is there, as outcomes name it.")],
    run_b: Annotated[str, typer.Argument(help="Run to compare it with.")],
    day_obs: Annotated[
        str | None, typer.Option(help="Observing day YYYYMMDD, or FIRST:LAST; all by default.")
    ] = None,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with every image.")
    ] = False,
) -> None:
    """Compare the same visits under two runs: what an upgrade lost and gained.

    Replay a night with the new version or configuration into a run of its own (`residua replay
    --label`), then compare: detections in both, lost and gained (none of the other run within 1
    arcsec), S, pull, depth, latency, CPU seconds, outcomes and quality flags, in all and by
    detector.

    Example: `residua compare residua/0/dp1/3f2a9c51d0be residua/0/dp1/3f2a9c51d0be/shadow
    --day-obs 20261122 --catalog residua-up`

    Exit codes: 0 compared; 1 the runs have nothing in common; 2 wrong command line.
    """
    from residua.cli.events.replay import range_of

    days = range_of("--day-obs", day_obs)
    with one_line_errors():
        url, _ = catalog_place(catalog or "residua-demo")
        from residua.access.dali.errors import RequestError
        from residua.access.page.compare import compare_runs
        from residua.access.store.catalog_reader import open_catalog
        from residua.access.store.query_limits import Limits

        opened = open_catalog(str(url), 2)
        try:
            found = compare_runs(
                lambda sql, values: opened.select(sql, values, Limits(_SECONDS)), run_a, run_b, days
            )
        except RequestError as e:
            typer.echo(f"residua: {e.message}", err=True)
            raise typer.Exit(FAILED) from e
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found)
    if not found.both:
        typer.echo("residua: the runs have no visit-detector in common", err=True)
        raise typer.Exit(FAILED)


def _show(found: "Comparison") -> None:
    from residua.access.page.compare import COMPARED

    OUT.print(f"a  {found.run_a}\nb  {found.run_b}", markup=False, soft_wrap=True)
    outcomes = ", ".join(f"{n} {change}" for change, n in found.outcomes.items())
    OUT.print(
        f"{found.both} visit-detectors in both ({outcomes}), {found.only_a} in a alone, "
        f"{found.only_b} in b alone",
        markup=False,
        soft_wrap=True,
    )
    d = found.detections
    OUT.print(
        f"detections: {d['common']} in both, {d['lost']} lost ({d['lost_bright']} with |S/N| of 7 "
        f"and more), {d['gained']} gained ({d['gained_bright']})",
        markup=False,
        soft_wrap=True,
    )
    numbers = _table("quantity", "a", "b", "change", "95 % within", "images")
    for s in found.spreads:
        values = (f"{v:.4g}" for v in (s.a, s.b, s.change, s.largest))
        numbers.add_row(COMPARED[s.name], *values, str(s.images))
    OUT.print(numbers)
    cost = found.cpu_seconds
    if cost["images"]:
        OUT.print(
            f"cost: {cost['a']:.1f} CPU s in a, {cost['b']:.1f} in b, of {cost['images']:.0f} "
            f"images: {100.0 * (cost['b'] / cost['a'] - 1.0):+.1f} %",
            markup=False,
        )
    for flag, n in found.flags.items():
        OUT.print(f"flag {flag}: {n['a']} in a alone, {n['b']} in b alone, {n['both']} in both")
    detectors = _table(
        "detector", "images", "common", "lost", "gained", "change of S", "CPU s a", "b"
    )
    for detector, row in found.by_detector.items():
        counts = (str(row[name]) for name in ("images", "common", "lost", "gained"))
        costs = (f"{row[name]:.2f}" for name in ("cpu_a", "cpu_b"))
        detectors.add_row(str(detector), *counts, f"{row['change_of_s']:+.4f}", *costs)
    OUT.print(detectors)
    differing = [p for p in found.pairs if p.lost or p.gained][:_PAIRS]
    for p in differing:
        OUT.print(f"{p.visit}/{p.detector}: {p.lost} lost, {p.gained} gained", markup=False)


def _table(first: str, *others: str) -> Table:
    table = Table()
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
