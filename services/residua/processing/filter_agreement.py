"""Whether an arrival and its templates were taken through one filter, and the words if not."""

from collections.abc import Sequence

from residua.errors import FilterMismatchError
from residua.instruments.filter_names import same_filter
from residua_schemas import TemplateCoadd, VisitArrival

__all__ = ["other_filter", "refuse_other_filters", "same_filter_as"]


def refuse_other_filters(arrival: VisitArrival, templates: Sequence[TemplateCoadd]) -> None:
    """Check that all templates were taken through the filter of the arrival.

    Raises
    ------
    FilterMismatchError
        One was not; the message names the filters.
    """
    others = [t for t in templates if not same_filter_as(arrival, arrival.physical_filter, t)]
    if others:
        raise other_filter(arrival, arrival.physical_filter, others)


def same_filter_as(
    arrival: VisitArrival, physical_filter: str | None, template: TemplateCoadd
) -> bool:
    """Whether a template is of the band of an arrival, and of the glass its image came through.

    Parameters
    ----------
    arrival
        Says the band.
    physical_filter
        Of the visit image; `None` where none is known.
    template
        To compare.
    """
    same_band = template.band == arrival.band
    return same_band and same_filter(physical_filter, template.physical_filter, arrival.band)


def other_filter(
    arrival: VisitArrival, physical_filter: str | None, templates: Sequence[TemplateCoadd]
) -> FilterMismatchError:
    """Say, with the remedy, that templates are of another filter; the parameters are as above."""
    names = sorted({f"{t.physical_filter or t.band!r} (band {t.band})" for t in templates})
    return FilterMismatchError(
        f"{arrival.image_uri} was taken through {physical_filter or arrival.band!r} (band "
        f"{arrival.band}), the template through {', '.join(names)}; if they may be subtracted, "
        "give the band of the template (--band), or map the filters in the description of the "
        "instrument",
        templates=len(templates),
        coverage=0.0,
    )
