"""Typed failures of the subtraction; each carries the numbers that explain it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, override

__all__ = [
    "BadImageError",
    "BadSubtractionError",
    "InsufficientCoverageError",
    "InsufficientKernelStarsError",
    "SubtractionError",
    "caused_by",
]

type Input = Literal["science", "template"]


class SubtractionError(Exception):
    """A subtraction that cannot be done or must not be trusted.

    Parameters
    ----------
    message
        One sentence: what is wrong and who can mend it.
    numbers
        The measured values and limits behind the message, by name.

    Attributes
    ----------
    input
        The input that has to change, where the subtraction can tell; see `caused_by`.
    """

    input: Input | None = None

    def __init__(self, message: str, **numbers: float) -> None:
        super().__init__(message)
        self.message = message
        self.numbers: Mapping[str, float] = dict(numbers)

    @override
    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross a process boundary; the default would drop `numbers`.
        return (_rebuild, (type(self), self.message, dict(self.numbers), self.input))


def _rebuild(
    error_type: type[SubtractionError],
    message: str,
    numbers: dict[str, float],
    caused_by: Input | None,
) -> SubtractionError:
    error = error_type(message, **numbers)
    error.input = caused_by
    return error


@contextmanager
def caused_by(which: Input) -> Iterator[None]:
    """Name the input that an error raised inside is about, unless it is named already."""
    try:
        yield
    except SubtractionError as e:
        if e.input is None:
            e.input = which
        raise


class InsufficientCoverageError(SubtractionError):
    """Too little of the detector is covered by templates: legitimately nothing to do."""


class InsufficientKernelStarsError(SubtractionError):
    """Too few usable stars to fit a PSF-matching kernel."""


class BadImageError(SubtractionError):
    """An input image whose planes cannot be used (no finite pixel, wrong unit, wrong shape)."""


class BadSubtractionError(SubtractionError):
    """A finished subtraction outside the limits of its quality record."""
