"""From a visit arrival to its outcome: `use_case`, and in it `making` of the image itself."""

from residua.processing.filter_agreement import refuse_other_filters
from residua.processing.making import ProcessingContext, make_difference_image
from residua.processing.use_case import locate, process

__all__ = [
    "ProcessingContext",
    "locate",
    "make_difference_image",
    "process",
    "refuse_other_filters",
]
