"""From a visit arrival to its outcome: the whole use case on one page."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from residua import identity
from residua.errors import (
    FilterMismatchError,
    NoTemplateError,
    ResiduaError,
    ResourceExhaustedError,
    blaming,
)
from residua.identity import (
    Run,
    configuration_hash,
    dataset_id,
    installed_version,
    publisher_did,
)
from residua.instruments.filter_names import same_filter
from residua.outcomes import Outcome, created, failed, skipped
from residua.ports import (
    ImageStore,
    MadeDifferenceImage,
    Provenance,
    SolutionShelf,
    StoredDifferenceImage,
    VisitImage,
)
from residua.sphere.overlap import regions_overlap
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.errors import (
    BadSubtractionError,
    InsufficientCoverageError,
    NumericalError,
    StaleSolutionError,
    SubtractionError,
)
from residua.subtraction.images import DifferenceImage, TemplateImage
from residua.subtraction.solve import solve_and_apply
from residua.subtraction.steps.apply import apply
from residua.subtraction.steps.solution import ARITHMETIC
from residua.subtraction.subtract import subtract
from residua.telemetry.stages import Watch, unwatched
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    Responsible,
    SkyPolygon,
    SolutionReference,
    TemplateCoadd,
    TemplateReference,
    VisitArrival,
)

__all__ = [
    "ProcessingContext",
    "locate",
    "make_difference_image",
    "process",
    "refuse_other_filters",
]

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


def process(
    arrival: VisitArrival,
    candidates: Sequence[TemplateCoadd],
    store: ImageStore,
    context: ProcessingContext,
    number: int = 0,
    draft: Callable[[DifferenceImageCreated], None] = lambda _outcome: None,
) -> Outcome:
    """Make, store and describe the difference image of one visit-detector.

    Parameters
    ----------
    arrival
        The visit-detector and where its image is.
    candidates
        Templates of its band that may overlap it; those that do are used.
    store
        Where images are read and written.
    context
        The run and its settings.
    number
        Of the outcome, see `residua.ledger`; part of the file's name.
    draft
        Writes the outcome down before its file is in place: a try that is killed while the
        store takes it is not lost.

    Returns
    -------
    outcome
        Created, skipped or failed, to be committed under its number. The file is in the store
        before "created" is returned, so that the order is store, commit, publish, acknowledge.
        The same arrival, files, context and number give the same outcome, to the byte.

    Raises
    ------
    residua.errors.TransientError
        A component does not answer; the arrival has no outcome yet and must be tried again.
    """
    run = context.run
    visit_image: VisitImage | None = None

    def announce(made: MadeDifferenceImage) -> None:
        draft(created(arrival, made, run.name, run.config, number))

    try:
        with context.watch("read_visit_image"):
            visit_image = _read_visit_image(store, arrival)
        made = make_difference_image(
            arrival, visit_image, candidates, store, context, number=number, announce=announce
        )
    except NoTemplateError as e:
        return skipped(arrival, run.name, "no_template", e, visit_image, number)
    except InsufficientCoverageError as e:
        return skipped(arrival, run.name, "insufficient_coverage", e, visit_image, number)
    except SubtractionError as e:
        return failed(arrival, run.name, e, _responsible(e), visit_image, number)
    except ResiduaError as e:
        return failed(arrival, run.name, e, e.responsible, visit_image, number)
    except MemoryError as e:
        error = ResourceExhaustedError(
            f"not enough memory to subtract {arrival.visit_detector}: {e}"
        )
        return failed(arrival, run.name, error, error.responsible, visit_image, number)
    return created(arrival, made, run.name, run.config, number)


def locate(
    arrival: VisitArrival, store: ImageStore, context: ProcessingContext
) -> SkyPolygon | DifferenceImageFailed:
    """Read where a visit image lies whose arrival does not say.

    Returns
    -------
    region_or_outcome
        Its footprint; or the outcome of an image that cannot be read, as `process` has it.

    Raises
    ------
    residua.errors.TransientError
        A component does not answer.
    """
    try:
        with _blaming_the_producer():
            return store.region_of(arrival)
    except ResiduaError as e:
        return failed(arrival, context.run.name, e, e.responsible)


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
        t for t in overlapping if _same_filter(arrival, visit_image.observation.physical_filter, t)
    ]
    if not matching:
        physical_filter = visit_image.observation.physical_filter
        raise _other_filter(arrival, physical_filter, overlapping)
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


def _blaming_the_producer() -> AbstractContextManager[None]:
    return blaming("producer", "visit image", "send the file, then the event again")


def _read_visit_image(store: ImageStore, arrival: VisitArrival) -> VisitImage:
    with _blaming_the_producer():
        return store.read_visit_image(arrival)


def _read_template(store: ImageStore, template: TemplateCoadd) -> TemplateImage:
    name = f"template {template.skymap} {template.tract}/{template.patch} {template.band}"
    with blaming("operator", name, "put the file back, register it anew, or withdraw it"):
        return store.read_template(template)


def _responsible(error: SubtractionError) -> Responsible:
    if isinstance(error, NumericalError):
        return "residua"
    if error.input is not None:
        return "producer" if error.input == "science" else "operator"
    # Limits and templates are the operator's, and the visit image passed all checks of its own.
    return "operator" if isinstance(error, BadSubtractionError) else "producer"


def refuse_other_filters(arrival: VisitArrival, templates: Sequence[TemplateCoadd]) -> None:
    """Check that all templates were taken through the filter of the arrival.

    Raises
    ------
    FilterMismatchError
        One was not; the message names the filters.
    """
    others = [t for t in templates if not _same_filter(arrival, arrival.physical_filter, t)]
    if others:
        raise _other_filter(arrival, arrival.physical_filter, others)


def _same_filter(
    arrival: VisitArrival, physical_filter: str | None, template: TemplateCoadd
) -> bool:
    same_band = template.band == arrival.band
    return same_band and same_filter(physical_filter, template.physical_filter, arrival.band)


def _other_filter(
    arrival: VisitArrival, physical_filter: str | None, templates: Sequence[TemplateCoadd]
) -> FilterMismatchError:
    names = sorted({f"{t.physical_filter or t.band!r} (band {t.band})" for t in templates})
    return FilterMismatchError(
        f"{arrival.image_uri} was taken through {physical_filter or arrival.band!r} (band "
        f"{arrival.band}), the template through {', '.join(names)}; if they may be subtracted, "
        "give the band of the template (--band), or map the filters in the description of the "
        "instrument",
        templates=len(templates),
        coverage=0.0,
    )


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
