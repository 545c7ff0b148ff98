"""Choose the templates of a visit image, read them, subtract, store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from residua import identity
from residua.errors import NoTemplateError, blaming
from residua.identity import (
    Run,
    configuration_hash,
    dataset_id,
    installed_version,
    publisher_did,
)
from residua.ports import (
    ImageStore,
    MadeDifferenceImage,
    Provenance,
    SolutionShelf,
    StoredDifferenceImage,
    VisitImage,
)
from residua.processing.filter_agreement import other_filter, same_filter_as
from residua.sphere.overlap import regions_overlap
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.errors import StaleSolutionError
from residua.subtraction.images import DifferenceImage, TemplateImage
from residua.subtraction.solve import solve_and_apply
from residua.subtraction.steps.apply import apply
from residua.subtraction.steps.solution import ARITHMETIC
from residua.subtraction.subtract import subtract
from residua.telemetry.stages import Watch, unwatched
from residua_schemas import SolutionReference, TemplateCoadd, TemplateReference, VisitArrival

__all__ = ["ProcessingContext", "make_difference_image"]

_SOFTWARE = ("residua", "numpy", "numba", "scipy", "astropy", "lsst-images", "imagecodecs")


@dataclass(frozen=True)
class ProcessingContext:
    """What stays the same from arrival to arrival.

    Parameters
    ----------
    run
        The run all outcomes belong to.
    authority
        IVOA authority of the publisher DIDs, for example ``org.example``.
    threads
        Threads of one subtraction; never changes a bit of the result.
    planes
        Buffers that one subtraction after another shall use; the planes of a
        `MadeDifferenceImage` are then valid until the next one is made.
    solutions
        Where solutions are kept: what was solved once, here or elsewhere, is not solved again.
    watch
        Told of the stages, for metrics and traces.
    """

    run: Run
    authority: str = "org.residua"
    threads: int = 1
    planes: PlanePool | None = None
    solutions: SolutionShelf | None = None
    watch: Watch = unwatched


def make_difference_image(
    arrival: VisitArrival,
    visit_image: VisitImage,
    candidates: Sequence[TemplateCoadd],
    store: ImageStore,
    context: ProcessingContext,
    *,
    number: int = 0,
    name: str | None = None,
    announce: Callable[[MadeDifferenceImage], None] | None = None,
) -> MadeDifferenceImage:
    """Choose the templates that overlap, read them, subtract, store.

    Parameters
    ----------
    arrival, candidates, store, context
        As in `process`.
    visit_image
        What the arrival names, as read.
    number
        Of the outcome; part of the file's name.
    name
        Path under the output root; by default derived from the run, the visit-detector, the
        number and the file's bytes.
    announce
        Called when the image is made and its file about to be put in place.

    Raises
    ------
    NoTemplateError
        No candidate overlaps the visit image, or none is in its filter.
    residua.errors.ResiduaError, residua.subtraction.errors.SubtractionError
        Wrong input, or a subtraction that must not be trusted.
    residua.errors.TransientError
        A component does not answer.
    """
    overlapping = [t for t in candidates if regions_overlap(t.region, visit_image.region)]
    if not overlapping:
        raise NoTemplateError(
            f"none of the {len(candidates)} candidate {arrival.band}-band templates of set "
            f"{context.run.template_set} overlaps {arrival.visit_detector}",
            candidates=len(candidates),
            coverage=0.0,
        )
    matching = [
        t
        for t in overlapping
        if same_filter_as(arrival, visit_image.observation.physical_filter, t)
    ]
    if not matching:
        physical_filter = visit_image.observation.physical_filter
        raise other_filter(arrival, physical_filter, overlapping)
    with context.watch("read_templates"):
        templates = [_read_template(store, template) for template in matching]
    provenance = _provenance(arrival, visit_image, matching, context)
    with context.watch("subtract"):
        difference, solution = _subtract(arrival, visit_image, templates, provenance, context)
    day_obs = visit_image.observation.day_obs

    def made(stored: StoredDifferenceImage) -> MadeDifferenceImage:
        return MadeDifferenceImage(visit_image, difference, provenance, stored, solution)

    def key(checksum: str) -> str:
        who = arrival.visit_detector
        return name or identity.object_key(context.run.name, who, day_obs, number, checksum)

    with context.watch("write"):
        stored = store.write_difference_image(
            key,
            difference,
            visit_image,
            provenance,
            announce=None if announce is None else lambda stored: announce(made(stored)),
        )
    return made(stored)


def _subtract(
    arrival: VisitArrival,
    visit_image: VisitImage,
    templates: Sequence[TemplateImage],
    provenance: Provenance,
    context: ProcessingContext,
) -> tuple[DifferenceImage, SolutionReference | None]:
    """Subtract; of all who solve the same inputs, whoever stores his solution first is believed."""
    science, config, shelf = visit_image.image, context.run.config, context.solutions
    threads, planes = context.threads, context.planes
    if shelf is None:
        return subtract(science, templates, config, threads=threads, planes=planes), None
    name = identity.solution_key(
        context.run.name,
        arrival.visit_detector,
        visit_image.observation.day_obs,
        [
            (visit_image.reference.checksum, arrival.reading),
            *((t.checksum, t.reading) for t in provenance.templates),
        ],
        ARITHMETIC,
    )
    kept = shelf.find(name)
    if kept is None:
        solution, difference = solve_and_apply(
            science, templates, config, threads=threads, planes=planes
        )
        kept = shelf.keep(name, solution)
        if kept.solution is solution:
            return difference, kept.reference
    try:
        difference = apply(kept.solution, science, templates, threads=threads, planes=planes)
    except StaleSolutionError:
        # The same files, read with another last bit: of plain ones whose sky is fitted.
        return subtract(science, templates, config, threads=threads, planes=planes), None
    return difference, kept.reference


def _read_template(store: ImageStore, template: TemplateCoadd) -> TemplateImage:
    name = f"template {template.skymap} {template.tract}/{template.patch} {template.band}"
    with blaming("operator", name, "put the file back, register it anew, or withdraw it"):
        return store.read_template(template)


def _provenance(
    arrival: VisitArrival,
    visit_image: VisitImage,
    templates: Sequence[TemplateCoadd],
    context: ProcessingContext,
) -> Provenance:
    dataset = dataset_id(context.run.name, arrival.visit_detector)
    return Provenance(
        dataset_id=str(dataset),
        run=context.run.name,
        obs_publisher_did=publisher_did(context.authority, dataset),
        visit_image=visit_image.reference,
        templates=tuple(
            TemplateReference(
                uri=t.uri,
                checksum=t.checksum,
                dataset_id=t.dataset_id,
                skymap=t.skymap,
                tract=t.tract,
                patch=t.patch,
                reading=t.reading,
            )
            for t in templates
        ),
        template_set=context.run.template_set,
        configuration_hash=configuration_hash(context.run.config),
        software={name: installed_version(name) for name in _SOFTWARE},
    )
