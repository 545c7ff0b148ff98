"""`residua sweep`: drop superseded files, by the ledger's rule."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from residua.cli.catalog_place import catalog_place
from residua.cli.console import OUT, one_line_errors

if TYPE_CHECKING:
    from lsst.resources import ResourcePath

    from residua_schemas import VisitDetector

__all__ = ["sweep"]

_NAME = re.compile(r"difference_image_(.+)_(\d+)_(\d+)_(\d+)_([0-9a-f]{12})\.[a-z.]+")
_SOLUTION = re.compile(r"solution_(.+)_(\d+)_(\d+)_\d+_[0-9a-f]{12}\.residua")


def sweep(
    output_root: Annotated[
        str,
        typer.Argument(help="Root of the difference images.", envvar="RESIDUA_OUTPUT_ROOT"),
    ],
    catalog: Annotated[
        str,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ],
    butler: Annotated[
        list[str] | None,
        typer.Option(help="Butler repository that serves these images; repeatable."),
    ] = None,
    no_butler: Annotated[
        bool, typer.Option("--no-butler", help="No Butler repository serves these images.")
    ] = False,
    run: Annotated[str, typer.Option(help="Only this run, such as residua/0/dp1/3f2a.")] = "",
    older_than: Annotated[
        float,
        typer.Option(help="Days a file stays for readers that hold its address.", min=0.0),
    ] = 7.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove files of difference images that nobody can come to need.

    A file goes when another outcome has its number, or when the catalog and every Butler
    repository named here have a later number of its dataset. Numbers are never given twice and
    rows only rise, so that this is safe beside running workers, however slow either is. So does a
    kept solution that no outcome refers to. The ledger itself stays.

    Example: `residua sweep s3://difference-images/prod --catalog URL --butler REPO --dry-run`
    """
    if not butler and not no_butler:
        raise typer.BadParameter("name every --butler repository, or say --no-butler")
    with one_line_errors():
        url, _ = catalog_place(catalog)
        swept = _sweep(output_root, url or catalog, butler or [], run, older_than, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps({"removed": swept, "dry_run": dry_run}, indent=2))
        return
    for uri in swept:
        OUT.print(uri, markup=False)
    OUT.print(f"{len(swept)} files {'would be' if dry_run else 'were'} removed", markup=False)


def _sweep(
    output_root: str,
    catalog: str,
    repositories: Sequence[str],
    run: str,
    days: float,
    *,
    dry_run: bool,
) -> list[str]:
    from lsst.resources import ResourcePath

    from residua.storage.runs.ledger_files import LedgerFiles
    from residua.storage.runs.sweeping import sweep_solutions, sweep_visit_detector

    root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
    swept: list[str] = []
    with ExitStack() as stack:
        numbers = _numbers(stack, catalog, repositories)

        def held(of_run: str, who: "VisitDetector") -> Sequence[int | None]:
            return [number(of_run, who) for number in numbers]

        for (of_run, who), files in _grouped(root, run, "difference_image", _NAME).items():
            found = sweep_visit_detector(
                LedgerFiles(output_root, of_run, who),
                files,
                held,
                older_than=timedelta(days=days),
                dry_run=dry_run,
            )
            swept.extend(one.uri for one in found)
        for (of_run, who), files in _grouped(root, run, "solution", _SOLUTION).items():
            orphans = sweep_solutions(
                LedgerFiles(output_root, of_run, who),
                files,
                older_than=timedelta(days=days),
                dry_run=dry_run,
            )
            swept.extend(one.uri for one in orphans)
    return swept


def _grouped(
    root: "ResourcePath", run: str, kind: str, names: re.Pattern[str]
) -> dict[tuple[str, "VisitDetector"], list["ResourcePath"]]:
    from lsst.resources import ResourcePath

    from residua_schemas import VisitDetector

    groups: dict[tuple[str, VisitDetector], list[ResourcePath]] = defaultdict(list)
    start = root.join(f"{run}/", forceDirectory=True) if run else root
    found: Iterable[ResourcePath] = ResourcePath.findFileResources([start])
    for file in found:
        relative = file.relative_to(root)
        name = names.fullmatch(file.basename())
        of_run, folder, _ = (relative or "").partition(f"/{kind}/")
        if name is None or not folder:
            continue
        who = VisitDetector(instrument=name[1], visit=int(name[2]), detector=int(name[3]))
        groups[of_run, who].append(file)
    return groups


type _Number = Callable[[str, "VisitDetector"], int | None]


def _numbers(stack: ExitStack, catalog: str, repositories: Sequence[str]) -> list[_Number]:
    from sqlalchemy import select

    from residua.butler.repository import open_repository
    from residua.identity import dataset_id, number_of_key
    from residua.obscore import obscore
    from residua.obscore.opening import open_existing

    engine = open_existing(catalog)
    stack.callback(engine.dispose)

    def of_catalog(run: str, who: "VisitDetector") -> int | None:
        query = select(obscore.c.revision).where(
            obscore.c.dataset_id == str(dataset_id(run, who)),
            obscore.c.dataset_type == "difference_image",
        )
        with engine.connect() as connection:
            return connection.scalar(query)

    found: list[_Number] = [of_catalog]
    for repository in repositories:
        opened = stack.enter_context(open_repository(repository))

        def of_butler(run: str, who: "VisitDetector", opened: object = opened) -> int | None:
            from lsst.daf.butler import Butler

            assert isinstance(opened, Butler)
            ref = opened.get_dataset(dataset_id(run, who))
            if ref is None or not opened.stored(ref):
                return None
            named = number_of_key(opened.getURI(ref).path)
            return -1 if named is None else named[0]

        found.append(of_butler)
    return found
