"""From the outcome of an image to its file, made again."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from residua.identity import Run
from residua.outcomes import created as created_outcome
from residua.ports import MadeDifferenceImage, Provenance, VisitImage
from residua.processing import ProcessingContext, make_difference_image
from residua.recreation.differences import differences, in_words
from residua.recreation.errors import (
    RecreationDiffersError,
)
from residua.recreation.input_stores import (
    Stores,
    kept_solution,
    read_template,
    read_visit_image,
)
from residua.recreation.lookup.configuration import (
    configuration_of,
    file_name_of,
    require_same_major,
)
from residua.recreation.settings import RecreationSettings
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.storage.objects import local_path
from residua.storage.regions.hollow import SUFFIX
from residua.storage.runs.run_record import RunRecord
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
    TemplateCoadd,
    TemplateReference,
)

__all__ = ["NOW", "Recreated", "Recreator"]

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
    planes
        Buffers, shared with whoever subtracts in this process.
    """

    def __init__(
        self,
        settings: RecreationSettings,
        folder: Path,
        *,
        preview: bool = False,
        planes: PlanePool | None = None,
    ) -> None:
        self.settings = settings
        self._folder = folder.resolve()
        self._preview = preview
        self._planes = planes or PlanePool()
        self._stores = Stores(settings, self._folder, preview=preview)

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
        record = self._stores.record(created)
        config = configuration_of(created, record)
        with self._making(created, record, created.templates) as (store, folder):
            visit_image = read_visit_image(store, created)
            templates = [read_template(store, created, t) for t in created.templates]
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
            return self._place(made, created, solution=solution)

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
            return self._place(made, now, name)

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
        name = file_name_of(created)
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
        content = kept_solution(created, self.settings)
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
            yield self._stores.store_for(created, record, templates), folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what others left half made who were killed, when nobody can be at it any more."""
        for left in self._folder.glob(".*.part"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def _place(
        self,
        made: MadeDifferenceImage,
        outcome: DifferenceImageCreated,
        name: str | None = None,
        *,
        solution: bytes | None = None,
    ) -> Recreated:
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
        pictures = beside.get(".png")
        return Recreated(target, outcome, beside[".parquet"], pictures, solution, hollow)
