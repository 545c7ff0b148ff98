"""From a visit arrival to its outcome: the whole use case on one page."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from residua.errors import NoTemplateError, ResiduaError, ResourceExhaustedError, blaming
from residua.outcomes import Outcome, created, failed, skipped
from residua.ports import ImageStore, MadeDifferenceImage, VisitImage
from residua.processing.making import ProcessingContext, make_difference_image
from residua.subtraction.errors import (
    BadSubtractionError,
    InsufficientCoverageError,
    NumericalError,
    SubtractionError,
)
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    Responsible,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
)

__all__ = ["locate", "process"]


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


def _blaming_the_producer() -> AbstractContextManager[None]:
    return blaming("producer", "visit image", "send the file, then the event again")


def _read_visit_image(store: ImageStore, arrival: VisitArrival) -> VisitImage:
    with _blaming_the_producer():
        return store.read_visit_image(arrival)


def _responsible(error: SubtractionError) -> Responsible:
    if isinstance(error, NumericalError):
        return "residua"
    if error.input is not None:
        return "producer" if error.input == "science" else "operator"
    # Limits and templates are the operator's, and the visit image passed all checks of its own.
    return "operator" if isinstance(error, BadSubtractionError) else "producer"
