"""`residua explain`: what was done to a visit-detector, and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from residua.cli.catalog_place import catalog_place
from residua.cli.console import FAILED, OUT, USAGE, one_line_errors

if TYPE_CHECKING:
    from residua.access.page.explain import Statement
    from residua.access.store.catalog_reader import Catalog

__all__ = ["explain"]

_SECONDS = 60.0


def explain(
    visit: Annotated[int, typer.Argument(help="Visit number.")],
    detector: Annotated[int, typer.Argument(help="Detector number.")],
    ra: Annotated[
        float | None, typer.Argument(help="Right ascension of a place, ICRS, degrees.")
    ] = None,
    dec: Annotated[float | None, typer.Argument(help="Its declination, degrees.")] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Instrument, where several have this visit.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Run; by default the newest one.")] = None,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what was done to a visit-detector and why; with a position, what is there.

    Templates, registration, the side that was convolved, kernel, noise, what is left of stars,
    detections, flags with their limits; of what failed, who should act and how to try again. At a
    position: the pixel over its noise, its mask planes, the nearest detection. The page says the
    same of every image.

    Example: `residua explain 2026112200101 0 --catalog residua-demo`

    Example: `residua explain 2026112200101 0 150.1271 2.1949 --catalog residua-demo`

    Exit codes: 0 explained; 1 the catalog has no such outcome; 2 wrong command line.
    """
    if (ra is None) != (dec is None):
        typer.echo("residua: give both RA and DEC, or neither", err=True)
        raise typer.Exit(USAGE)
    with one_line_errors():
        url, roots = catalog_place(catalog or "residua-demo")
        from residua.access.dali.errors import RequestError
        from residua.access.store.catalog_reader import open_catalog

        try:
            opened = open_catalog(str(url), 2)
            row, said = _explained(opened, roots, (visit, detector, instrument, run), (ra, dec))
        except RequestError as e:
            typer.echo(f"residua: {e.message}", err=True)
            raise typer.Exit(FAILED) from e
    if as_json:
        names = ("dataset_id", "run", "instrument", "visit", "detector", "outcome")
        found = {name: row[name] for name in names}
        typer.echo(json.dumps({**found, "statements": [asdict(s) for s in said]}, indent=2))
        return
    title = f"{row['instrument']} {visit}/{detector}, {row['outcome']}, run {row['run']}"
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for statement in said:
        style = "yellow" if statement.level == "note" else None
        table.add_row(statement.topic, statement.text, style=style)
    OUT.print(table, markup=False)


def _explained(
    catalog: "Catalog",
    roots: Any,
    which: tuple[int, int, str | None, str | None],
    position: tuple[float | None, float | None],
) -> "tuple[Mapping[str, Any], Sequence[Statement]]":
    from residua.access.dali.errors import NotFoundError
    from residua.access.page.explain import explain as explain_event
    from residua.access.page.explain import explain_outcome
    from residua.access.store.query_limits import Limits
    from residua_schemas import DifferenceImageCreated

    visit, detector, instrument, run = which
    rows = catalog.select(
        'SELECT * FROM "visit_detector" v WHERE v.visit = :visit AND v.detector = :detector '
        "ORDER BY v.visitdetectorid DESC",
        {"visit": visit, "detector": detector},
        Limits(_SECONDS),
    )
    rows = [r for r in rows if instrument in {None, r["instrument"]} and run in {None, r["run"]}]
    if not rows:
        raise NotFoundError(f"the catalog has no outcome of {visit}/{detector}")
    row = rows[0]
    image = catalog.datasets("dataset_id", [row["dataset_id"]]).get(row["dataset_id"])
    if row["outcome"] != "created" or image is None:
        return row, explain_outcome(row)
    event = DifferenceImageCreated.model_validate(image["event"])
    said = explain_event(event)
    ra, dec = position
    if ra is not None and dec is not None:
        said += _at(catalog, roots, row, event, ra, dec)
    return row, said


def _at(
    catalog: "Catalog", roots: Any, row: Mapping[str, Any], event: Any, ra: float, dec: float
) -> "Sequence[Statement]":
    from lsst.resources import ResourcePath

    from residua.access.dali.errors import NotFoundError
    from residua.access.page.drawing.pixels import ImagePlanes
    from residua.access.page.place import explain_place, pixel_of
    from residua.access.store.query_limits import Limits
    from residua.storage.moved import moved
    from residua.storage.regions.file_cache import FileCache

    place = moved(event.uri, roots)
    try:
        file = FileCache().get(ResourcePath(place))
    except FileNotFoundError as e:
        raise NotFoundError(f"the image is not at {place} any more: residua recreate") from e
    if file is None:
        raise NotFoundError(f"{place} was not written by residua")
    planes = ImagePlanes(file)
    detections = catalog.select(
        'SELECT d.* FROM "dia_source" d WHERE d.visitdetectorid = :image',
        {"image": row["visitdetectorid"]},
        Limits(_SECONDS),
    )
    return explain_place(planes, event, *pixel_of(planes, ra, dec), detections)
