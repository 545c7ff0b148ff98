"""`residua recreate`: make an image again that was dropped, byte for byte."""

import json
import shutil
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from residua.cli.catalog_place import catalog_place
from residua.cli.console import FAILED, OUT, STDERR, one_line_errors
from residua.cli.images.recreation_options import logs_to_stderr, open_recreator

if TYPE_CHECKING:
    from lsst.resources import ResourcePath

    from residua.recreation import Recreated, Recreator
    from residua.recreation.lookup.find import Wanted
    from residua.sphere.regions import Circle
    from residua_schemas import DifferenceImageCreated

__all__ = ["recreate"]


def recreate(
    target: Annotated[
        list[str],
        typer.Argument(
            help="Dataset id; or instrument, visit and detector; or the address of a file that "
            "Residua wrote.",
            metavar="DATASET_ID | INSTRUMENT VISIT DETECTOR | URI",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write; by default the image's own name, here."
        ),
    ] = None,
    cutout: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            help="Only a square around a position: right ascension and declination in degrees "
            "(ICRS), size in arcsec.",
            metavar="RA DEC SIZE",
        ),
    ] = None,
    best_now: Annotated[
        bool,
        typer.Option(
            "--best-now",
            help="Not the image that was made, but the best of its visit today: the configuration "
            "of the environment, the templates in force; another image, of another run.",
        ),
    ] = False,
    catalog: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option(
            help="Log of outcomes to look in instead, one JSON object a line.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Run, where several have an image of this visit.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a difference image again that was dropped to save space: the same bytes, or an error.

    The inputs are read as the outcome names them, checked by their checksums, and subtracted with
    the configuration of the run; the file must have the checksum it had. If it has not, it is not
    written, and the command says what differs (exit code 1). For a cutout no more is read and made
    than it shows, where the solution and the hollow file of the image are kept.

    RESIDUA_MOVED_ROOTS tells where inputs lie now.

    Example: `residua recreate 0d5f4b8e-6f0e-5a63-9d1e-2f5a3b7c9e11 --catalog residua-demo`

    Example: `residua recreate LSSTComCam 2026112200123 4 --cutout 53.1 -27.7 30 -o stamp.fits`
    """
    from lsst.resources import ResourcePath

    from residua.recreation.lookup.configuration import file_name_of

    logs_to_stderr()
    with one_line_errors(), tempfile.TemporaryDirectory(prefix="residua-recreate-") as folder:
        if catalog is None and outcomes is None and not _is_address(target):
            raise typer.BadParameter("say where outcomes are: --catalog URL or --outcomes FILE")
        region = _region(cutout) if cutout else None
        url, roots = catalog_place(catalog)
        created = _outcome(target, url, outcomes, run)
        recreator = open_recreator(roots, Path(folder))
        if best_now:
            made = _best_now(recreator, created, url)
            outcome, name = made.outcome, made.path.name
            source = _cut(ResourcePath(str(made.path)), region, folder) if region else made.path
        else:
            outcome, name = created, file_name_of(created)
            source = _as_made(recreator, created, region, folder)
        place = output or Path(("cutout_" if cutout else "") + name)
        partial = place.with_name(f".{place.name}.part")
        shutil.copyfile(source, partial)
        partial.replace(place)
    _show(outcome, place, best_now=best_now, cutout=cutout is not None, as_json=as_json)


def _is_address(target: list[str]) -> bool:
    return len(target) == 1 and "/" in target[0]


def _outcome(
    target: list[str], url: str | None, log: Path | None, run: str | None
) -> "DifferenceImageCreated":
    from residua.obscore.opening import open_existing
    from residua.recreation.lookup.find import created_at, find_in_catalog, find_in_log

    if _is_address(target):
        return created_at(target[0] if "://" in target[0] else str(Path(target[0]).resolve()))
    wanted = _wanted(target, run)
    if log is not None:
        return find_in_log(log, wanted)
    assert url is not None
    engine = open_existing(url)
    try:
        return find_in_catalog(engine, wanted)
    finally:
        engine.dispose()


def _wanted(target: list[str], run: str | None) -> "Wanted":
    from residua.recreation.lookup.find import Wanted
    from residua_schemas import VisitDetector

    try:
        if len(target) == 1:
            return Wanted(dataset_id=UUID(target[0]), run=run)
        instrument, visit, detector = target
        who = VisitDetector(instrument=instrument, visit=int(visit), detector=int(detector))
    except ValueError as e:
        raise typer.BadParameter(
            f"{' '.join(target)!r} is neither a dataset id nor INSTRUMENT VISIT DETECTOR"
        ) from e
    return Wanted(visit_detector=who, run=run)


def _best_now(
    recreator: "Recreator", created: "DifferenceImageCreated", url: str | None
) -> "Recreated":
    from residua.obscore.opening import open_existing
    from residua.recreation.lookup.find import templates_in_force
    from residua.worker.settings import WorkerSettings

    if url is None:
        raise typer.BadParameter("--best-now needs the --catalog, which knows today's templates")
    # As a worker of this environment would: its configuration, its template set.
    settings = WorkerSettings(output_root=".")
    engine = open_existing(url)
    try:
        given = "template_set" in settings.model_fields_set
        template_set = settings.template_set if given else created.template_set
        templates = templates_in_force(engine, created.band, template_set)
    finally:
        engine.dispose()
    return recreator.best_now(
        created, settings.subtraction, templates, template_set, settings.authority
    )


def _as_made(
    recreator: "Recreator",
    created: "DifferenceImageCreated",
    region: "Circle | None",
    folder: str,
) -> Path:
    """Make the file, or the cutout alone where it can be made so."""
    from lsst.resources import ResourcePath

    from residua.recreation.partial.parts import NotInPartsError, PartialImages
    from residua.recreation.partial.remade import RemadeStream

    if region is None:
        return recreator.as_made(created).path
    try:
        part = PartialImages(recreator.settings).open(created)
    except NotInPartsError:
        return _cut(ResourcePath(str(recreator.as_made(created).path)), region, folder)
    return _cut(BufferedReader(RemadeStream(part)), region, folder)


def _region(cutout: tuple[float, float, float]) -> "Circle":
    """Return what a cutout holds; checked before anything is made."""
    from residua.sphere.regions import Circle, RegionError

    ra, dec, size = cutout
    # Not so, NaN too.
    if not size > 0.0:
        raise typer.BadParameter(
            f"SIZE is {size:g} arcsec: give one above 0", param_hint="--cutout"
        )
    try:
        return Circle(ra, dec, size / 7200.0)
    except RegionError as e:
        raise typer.BadParameter(str(e), param_hint="--cutout") from e


def _cut(source: "ResourcePath | BufferedReader", region: "Circle", folder: str) -> Path:
    from residua.access.cutouts.cutting import write_cutout

    path = Path(folder) / "cutout.fits"
    if not write_cutout(source, region, "exposure", path):
        STDERR.print(f"residua: {region.ra} {region.dec} does not lie on the image", markup=False)
        raise typer.Exit(FAILED)
    return path


def _show(
    outcome: "DifferenceImageCreated",
    place: Path,
    *,
    best_now: bool,
    cutout: bool,
    as_json: bool,
) -> None:
    if as_json:
        answer = {
            "file": str(place),
            "dataset_id": str(outcome.dataset_id),
            "run": outcome.run,
            "visit_detector": str(outcome.visit_detector),
            "checksum": outcome.checksum,
            "as_made": not best_now,
            "cutout": cutout,
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    if best_now:
        what = f"best now, another image: {outcome.dataset_id} of run {outcome.run}"
    else:
        what = f"as made, byte for byte: {outcome.checksum}"
    OUT.print(f"{place}: {'cut out of ' if cutout else ''}{what}", markup=False, soft_wrap=True)
