"""From the outcome of an image to its file, made again."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import structlog
from lsst.resources import ResourcePath

from residua.errors import ChecksumMismatchError, MissingFileError, UriNotAllowedError
from residua.identity import Run
from residua.instruments import InstrumentRegistry
from residua.outcomes import created as created_outcome
from residua.ports import MadeDifferenceImage, Provenance, VisitImage
from residua.processing import ProcessingContext, make_difference_image
from residua.recreation.differences import differences, in_words
from residua.recreation.errors import (
    ChangedInputError,
    LostInputError,
    RecreationDiffersError,
)
from residua.recreation.lookup.configuration import (
    configuration_of,
    output_root_of,
    require_same_major,
)
from residua.recreation.settings import RecreationSettings
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.storage.moved import moved
from residua.storage.objects import local_path, read_object
from residua.storage.regions.hollow import SUFFIX
from residua.storage.runs.run_record import RunRecord, read_run
from residua.storage.store import ImageFileStore
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.errors import (
    DamagedSolutionError,
    StaleSolutionError,
    UnknownArithmeticError,
)
from residua.subtraction.images import DifferenceImage, TemplateImage
from residua.subtraction.solve import solve_and_apply
from residua.subtraction.steps.apply import apply
from residua_schemas import (
    DifferenceImageCreated,
    ImageReading,
    TemplateCoadd,
    TemplateReference,
)

__all__ = ["NOW", "Recreated", "Recreator", "file_name"]

_LOG = structlog.get_logger(__name__)

NOW = "now"
"""Label of the run of what is made as well as can be done now: never that of a stored image."""

_LEFT_SECONDS = 3600.0


@dataclass(frozen=True)
class Recreated:
    """An image made again.

    Parameters
    ----------
    path
        The FITS file; the caller's to keep or remove.
    outcome
        Of the image as it is now: for one as it was made, the outcome it had.
    detections, preview
        The files beside it.
    solution
        What it was made of: the kept one, or that which was found anew.
    hollow
        The file without its pixels; `None` when its inputs are not read by parts.
    """

    path: Path
    outcome: DifferenceImageCreated
    detections: Path
    preview: Path | None = None
    solution: bytes | None = None
    hollow: bytes | None = None


@dataclass(frozen=True)
class _Template:
    """A template as an image refers to it; see `residua.ports.TemplateFile`."""

    uri: str
    checksum: str
    band: str
    reading: ImageReading | None


class Recreator:
    """Makes images again, one at a time; keeps the templates it used for the next one.

    Parameters
    ----------
    settings
        Where inputs may be read.
    folder
        Where files go; made if it is missing.
    preview
        Make the pictures too.
    """

    def __init__(
        self, settings: RecreationSettings, folder: Path, *, preview: bool = False
    ) -> None:
        self.settings = settings
        self._folder = folder.resolve()
        self._preview = preview
        self._planes = PlanePool()
        self._instruments = InstrumentRegistry(settings.instrument_directories)
        self._store: tuple[object, ImageFileStore] | None = None
        self._records: dict[tuple[str, str], RunRecord] = {}

    def as_made(self, created: DifferenceImageCreated) -> Recreated:
        """Make an image again as it was made: the same bytes, or an error.

        Parameters
        ----------
        created
            Its outcome. Inputs are those it names, by their checksums; configuration and
            compression those of its run; name and number its own. Its solution is applied: no
            fit, and no matter on which CPU. Where that is lost, the inputs are solved again.

        Returns
        -------
        recreated
            Under the name its file had. What was there before is replaced at once.

        Raises
        ------
        residua.recreation.errors.ChangedInputError, residua.recreation.errors.LostInputError
            An input is not what it was, or gone.
        residua.recreation.errors.IncompatibleVersionError
            Another major version made it.
        residua.recreation.errors.UnknownConfigurationError
            What its run was made with cannot be had.
        residua.recreation.errors.RecreationDiffersError
            It came out otherwise, and no file is left; the error says what differs.
        residua.errors.TransientError
            A store does not answer.
        """
        require_same_major(created)
        record = self._record(created)
        config = configuration_of(created, record)
        with self._making(created, record, created.templates) as (store, folder):
            visit_image = _read_visit_image(store, created)
            templates = [_read_template(store, created, t) for t in created.templates]
            made, solution = self._make(created, config, store, visit_image, templates, folder)
            now = created_outcome(created.arrival, made, created.run, config, created.revision)
            found = differences(created, now)
            if found:
                raise RecreationDiffersError(
                    f"{created.visit_detector} in {created.run} came out with other bytes: "
                    f"{in_words(found)}. Use the release and the kind of CPU that made it, or ask "
                    "for best now",
                    found,
                )
            placed = self._place(made)
            return replace(placed.with_outcome(created), solution=solution)

    def best_now(
        self,
        created: DifferenceImageCreated,
        config: SubtractionConfig,
        templates: Sequence[TemplateCoadd],
        template_set: str,
        authority: str,
    ) -> Recreated:
        """Make the image of the same visit-detector as well as can be done now.

        Another image: of a run of its own, with the label ``now``, and with an identity of its
        own.

        Parameters
        ----------
        created
            An outcome of the visit-detector: its arrival is taken.
        config, templates, template_set, authority
            As of a worker of today; those templates are used that overlap.

        Raises
        ------
        residua.errors.ResiduaError
            It cannot be made.
        residua.errors.TransientError
            A store does not answer.
        """
        from residua.identity import installed_version

        run = Run(config, template_set, installed_version("residua"), NOW)
        context = ProcessingContext(run, authority, self.settings.threads, self._planes)
        with self._making(created, None, templates) as (store, folder):
            visit_image = store.read_visit_image(created.arrival)
            made = make_difference_image(
                created.arrival,
                visit_image,
                templates,
                store,
                context,
                name=f"{folder.name}/difference_image.fits",
            )
            now = created_outcome(created.arrival, made, run.name, config)
            v, digest = created.visit_detector, now.checksum.removeprefix("sha256:")[:12]
            name = f"difference_image_{v.instrument}_{v.visit}_{v.detector}_{NOW}_{digest}.fits"
            return self._place(made, name).with_outcome(now)

    def _make(
        self,
        created: DifferenceImageCreated,
        config: SubtractionConfig,
        store: ImageFileStore,
        visit_image: VisitImage,
        templates: Sequence[TemplateImage],
        folder: Path,
    ) -> tuple[MadeDifferenceImage, bytes]:
        difference, solution = self._difference(created, config, visit_image, templates)
        provenance = Provenance(
            dataset_id=str(created.dataset_id),
            run=created.run,
            obs_publisher_did=created.obs_publisher_did,
            visit_image=created.visit_image,
            templates=created.templates,
            template_set=created.template_set,
            configuration_hash=created.configuration_hash,
            software=dict(created.software),
        )
        name = file_name(created)
        stored = store.write_difference_image(
            lambda _checksum: f"{folder.name}/{name}", difference, visit_image, provenance
        )
        made = MadeDifferenceImage(visit_image, difference, provenance, stored, created.solution)
        return made, solution

    def _difference(
        self,
        created: DifferenceImageCreated,
        config: SubtractionConfig,
        visit_image: VisitImage,
        templates: Sequence[TemplateImage],
    ) -> tuple[DifferenceImage, bytes]:
        science, threads, planes = visit_image.image, self.settings.threads, self._planes
        content = _solution(created, self.settings)
        if content is not None:
            with suppress(UnknownArithmeticError, StaleSolutionError, DamagedSolutionError):
                kept = read_solution(content)
                return apply(kept, science, templates, threads=threads, planes=planes), content
        # Equal by its checksum all the same, on the kind of CPU that made it.
        solution, difference = solve_and_apply(
            science, templates, config, threads=threads, planes=planes
        )
        return difference, write_solution(solution)

    @contextmanager
    def _making(
        self,
        created: DifferenceImageCreated,
        record: RunRecord | None,
        templates: Sequence[TemplateCoadd | TemplateReference],
    ) -> Iterator[tuple[ImageFileStore, Path]]:
        """Give a store and a folder under its root that is gone afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        folder = self._folder / f".{uuid4().hex}.part"
        folder.mkdir()
        try:
            yield self._store_for(created, record, templates), folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what others left half made who were killed, when nobody can be at it any more."""
        for left in self._folder.glob(".*.part"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def _place(self, made: MadeDifferenceImage, name: str | None = None) -> "_Placed":
        found = local_path(made.stored.uri)
        name = name or found.name
        target = self._folder / name
        beside, without = {}, found.with_suffix(SUFFIX)
        hollow = without.read_bytes() if without.exists() else None
        for suffix in (".png", ".parquet"):
            if found.with_suffix(suffix).exists():
                beside[suffix] = target.with_suffix(suffix)
                found.with_suffix(suffix).replace(target.with_suffix(suffix))
        # Last: where it stands, all of it stands.
        os.replace(found, target)  # noqa: PTH105 atomic, and said so
        return _Placed(target, beside[".parquet"], beside.get(".png"), hollow)

    def _record(self, created: DifferenceImageCreated) -> RunRecord | None:
        root = self.settings.output_root or output_root_of(created)
        key = (moved(f"{root}/", self.settings.moved_roots), created.run)
        if key not in self._records:
            found = read_run(*key)
            if found is None:
                return None
            self._records[key] = found
        return self._records[key]

    def _store_for(
        self,
        created: DifferenceImageCreated,
        record: RunRecord | None,
        templates: Sequence[TemplateCoadd | TemplateReference],
    ) -> ImageFileStore:
        settings = self.settings
        inputs = settings.input_roots
        if inputs is None:
            inputs = _folders([created.visit_image.uri], created.arrival.reading)
        template_roots = settings.template_roots
        if template_roots is None:
            template_roots = tuple(
                sorted({f for t in templates for f in _folders([t.uri], t.reading)})
            )
        zero_point = settings.zero_point if record is None else record.zero_point
        lossless = settings.lossless if record is None else record.lossless
        key = (inputs, template_roots, zero_point, lossless)
        if self._store is None or self._store[0] != key:
            store = ImageFileStore(
                input_roots=[moved(f"{r}/", settings.moved_roots) for r in inputs],
                template_roots=[moved(f"{r}/", settings.moved_roots) for r in template_roots],
                output_root=str(self._folder),
                zero_point=zero_point,
                lossless=lossless,
                threads=settings.threads,
                instruments=self._instruments,
                preview=self._preview,
                moved_roots=settings.moved_roots,
                # Lost, or its file system not mounted: a second look tells.
                missing_grace=0.0,
            )
            self._store = (key, store)
        return self._store[1]


@dataclass(frozen=True)
class _Placed:
    path: Path
    detections: Path
    preview: Path | None
    hollow: bytes | None

    def with_outcome(self, outcome: DifferenceImageCreated) -> Recreated:
        return Recreated(self.path, outcome, self.detections, self.preview, hollow=self.hollow)


def _solution(created: DifferenceImageCreated, settings: RecreationSettings) -> bytes | None:
    reference = created.solution
    if reference is None:
        return None
    uri = moved(reference.uri, settings.moved_roots)
    try:
        content, _ = read_object(ResourcePath(uri, forceAbsolute=True), reference.checksum)
    except (MissingFileError, ChecksumMismatchError) as e:
        # Lost: then the inputs are solved again, and the checksum tells.
        _LOG.warning("solution_lost", uri=uri, error=str(e))
        return None
    return content


def file_name(created: DifferenceImageCreated) -> str:
    """Return the name of an image's file, without its folder."""
    return PurePosixPath(unquote(urlsplit(created.uri).path)).name


def _folders(uris: Sequence[str], reading: ImageReading | None) -> tuple[str, ...]:
    beside = () if reading is None else (reading.variance_uri, reading.weight_uri, reading.mask_uri)
    found = {uri.rpartition("/")[0] for uri in (*uris, *beside) if uri is not None}
    return tuple(sorted(f for f in found if f))


def _read_visit_image(store: ImageFileStore, created: DifferenceImageCreated) -> VisitImage:
    checksum = created.visit_image.checksum
    with _as_an_input("the visit image", created, checksum):
        return store.read_visit_image(
            created.arrival.model_copy(update={"image_checksum": checksum})
        )


def _read_template(
    store: ImageFileStore, created: DifferenceImageCreated, template: TemplateReference
) -> TemplateImage:
    what = f"the template {template.skymap} {template.tract}/{template.patch}"
    file = _Template(template.uri, template.checksum, created.band, template.reading)
    with _as_an_input(what, created, template.checksum):
        return store.read_template(file)


@contextmanager
def _as_an_input(what: str, created: DifferenceImageCreated, checksum: str) -> Iterator[None]:
    who = f"{created.visit_detector} in {created.run}"
    try:
        yield
    except ChecksumMismatchError as e:
        raise ChangedInputError(
            f"{what} of {who} is not the one it was made of ({checksum}): {e.message}; put the "
            "file back as it was, or ask for best now",
            **e.numbers,
        ) from e
    except (MissingFileError, UriNotAllowedError) as e:
        raise LostInputError(
            f"{what} of {who} is not to be had: {e.message}; put the file back, or say where it "
            "lies now (RESIDUA_MOVED_ROOTS)"
        ) from e
