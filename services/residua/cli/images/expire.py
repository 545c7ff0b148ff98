"""`residua expire`: let files go that can be made again."""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from residua.cli.catalog_place import catalog_place
from residua.cli.console import FAILED, OUT, STDERR, followed, one_line_errors
from residua.cli.images.recreation_options import logs_to_stderr, open_recreator

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from residua.recreation.expire import Expired
    from residua_schemas import DifferenceImageCreated

__all__ = ["expire"]

_UNITS = {"d": 1.0, "h": 1.0 / 24.0, "": 1.0}
# Of millions of one kind only so many are named: in JSON, and to people.
_LISTED, _SHOWN = 1000, 20


class _Tally:
    """What came of all images, in numbers; says which are to be named."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.size = 0

    def __call__(self, one: "Expired") -> bool:
        """Count one; whether it is named."""
        self.counts[one.result] += 1
        if one.result == "removed":
            self.size += one.size_bytes
        return self.counts[one.result] <= _LISTED


def expire(
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
    older_than: Annotated[
        str, typer.Option(help="Age of what goes, since it was made: days, as 30d, or hours, 12h.")
    ] = "30d",
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also images that were meant to be kept (RESIDUA_STORE was not `recent`).",
        ),
    ] = False,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    butler: Annotated[
        list[str] | None,
        typer.Option(help="Butler repository that serves these images; repeatable."),
    ] = None,
    no_butler: Annotated[
        bool, typer.Option("--no-butler", help="No Butler repository serves these images.")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            help="Images of each run that are made again first; if one does not come back byte "
            "for byte, the run keeps all its files.",
            min=0,
        ),
    ] = 3,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would go; samples are made all the same."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove FITS files of difference images that can be made again; rows and previews stay.

    A file goes when its visit image and its templates are there and a sample of its run came back
    byte for byte. From then on DataLink, cutouts and the Butler make the image when somebody asks
    for it. Safe beside running services, and to be called again after it was killed. Exit code 1:
    a run keeps its files, because its sample did not come back.

    Example: `residua expire s3://difference-images --catalog URL --butler REPO --older-than 30d`
    """
    if not butler and not no_butler:
        raise typer.BadParameter("name every --butler repository, or say --no-butler")
    logs_to_stderr()
    age = _age(older_than)
    with one_line_errors():
        tally = _Tally()
        named = _expire(
            tally,
            output_root,
            catalog,
            butler or [],
            age,
            run=run,
            everything=everything,
            sample=sample,
            dry_run=dry_run,
        )
    if as_json:
        answer: dict[str, object] = {**tally.counts, "bytes": tally.size, "dry_run": dry_run}
        images = {
            "images": [asdict(one) for one in named],
            "images_not_listed": tally.counts.total() - len(named),
        }
        typer.echo(json.dumps({**answer, **images}, indent=2))
    else:
        _show(named, tally, dry_run=dry_run)
    if tally.counts["refused"]:
        raise typer.Exit(FAILED)


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([dh]?)", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no age such as 30d or 12h", param_hint="--older-than"
        )
    return timedelta(days=float(found[1]) * _UNITS[found[2]])


def _expire(
    tally: _Tally,
    output_root: str,
    catalog: str,
    repositories: list[str],
    age: timedelta,
    *,
    run: str | None,
    everything: bool,
    sample: int,
    dry_run: bool,
) -> "list[Expired]":
    from residua.butler.letting_go import prepare_butler
    from residua.butler.repository import open_repository
    from residua.obscore.opening import open_existing
    from residua.recreation.expire import Expiry, count_candidates
    from residua.recreation.expire import expire as expire_images

    url, roots = catalog_place(catalog)
    assert url is not None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="residua-expire-")))
        prepares: list[Callable[[DifferenceImageCreated], object]] = []
        for repository in repositories:
            opened = stack.enter_context(open_repository(repository, writeable=True))

            def prepare(created: "DifferenceImageCreated", opened: "Butler" = opened) -> object:
                return prepare_butler(opened, created)

            prepares.append(prepare)
        recreator = open_recreator(roots, folder)
        expiry = Expiry(
            output_root=output_root,
            older_than=age,
            run=run,
            everything=everything,
            sample=sample,
            moved_roots=recreator.settings.moved_roots,
            dry_run=dry_run,
        )
        engine = open_existing(url)
        stack.callback(engine.dispose)
        total = sum(count_candidates(engine, expiry).values())
        if not everything:
            _tell_what_stays(count_candidates(engine, replace(expiry, everything=True)), total)
        images = expire_images(engine, recreator, prepares, expiry)
        return followed(images, total, "expiring", tally)


def _tell_what_stays(of_runs: dict[str, int], chosen: int) -> None:
    more = sum(of_runs.values()) - chosen
    if more:
        STDERR.print(
            f"residua: {more} images of that age were meant to be kept (RESIDUA_STORE was not "
            "`recent`); --all lets them go, too",
            markup=False,
            soft_wrap=True,
        )


def _show(named: "list[Expired]", tally: _Tally, *, dry_run: bool) -> None:
    kept = [one for one in named if one.result == "kept"]
    for one in named:
        if one.result == "refused":
            STDERR.print(f"residua: the run {one.uri} keeps its files: {one.reason}", markup=False)
    for one in kept[:_SHOWN]:
        OUT.print(f"kept {one.uri}: {one.reason}", markup=False, soft_wrap=True)
    counts = tally.counts
    if counts["kept"] > _SHOWN:
        OUT.print(f"kept {counts['kept'] - _SHOWN} more", markup=False)
    would = "would be" if dry_run else "were"
    OUT.print(
        f"{counts['removed']} files {would} removed, {tally.size / 1e6:.1f} MB; {counts['kept']} "
        f"kept; {counts['absent']} were not there any more",
        markup=False,
    )
