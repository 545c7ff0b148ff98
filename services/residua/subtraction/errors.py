"""Typed failures of the subtraction; each carries the numbers that explain it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, override

from residua.errors import ResiduaError

__all__ = [
    "BadImageError",
    "BadSubtractionError",
    "DamagedSolutionError",
    "InsufficientCoverageError",
    "InsufficientKernelStarsError",
    "NumericalError",
    "StaleSolutionError",
    "SubtractionError",
    "UnknownArithmeticError",
    "caused_by",
    "numerical_steps",
]

type Input = Literal["science", "template"]


class SubtractionError(ResiduaError):
    """A subtraction that cannot be done or must not be trusted.

    Attributes
    ----------
    input
        The input that has to change, where the subtraction can tell; see `caused_by`.
    """

    input: Input | None = None

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (super().__reduce__(), self.input)


def _rebuild(
    reduced: tuple[Callable[..., SubtractionError], tuple[object, ...]], caused_by: Input | None
) -> SubtractionError:
    make, arguments = reduced
    error = make(*arguments)
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
    """Too few usable stars to measure a PSF or to fit a PSF-matching kernel."""


class BadImageError(SubtractionError):
    """An input image whose planes cannot be used (no finite pixel, wrong unit, wrong shape)."""


class BadSubtractionError(SubtractionError):
    """A finished subtraction outside the limits of its quality record."""


class StaleSolutionError(SubtractionError):
    """A kept solution whose inputs are not the ones it is to be applied to."""


class UnknownArithmeticError(SubtractionError):
    """A kept solution of pixel passes that this version does not have: solve again."""


class DamagedSolutionError(SubtractionError):
    """Bytes that are no kept solution, or no whole one."""


class NumericalError(SubtractionError):
    """A computation that these images make singular or not finite."""


@contextmanager
def numerical_steps(what: str, **numbers: float) -> Iterator[None]:
    """Turn the numerical errors of solvers into a typed failure of the named step.

    Parameters
    ----------
    what
        Names the step, as the subject of a sentence.
    numbers
        What the step worked on, by name.

    Raises
    ------
    NumericalError
        For a singular matrix, a value that is not finite, or a division by zero.
    """
    try:
        yield
    except SubtractionError:
        raise
    except (ArithmeticError, ValueError) as e:
        said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        raise NumericalError(
            f"{what} failed numerically ({type(e).__name__}: {e})"
            + (f" with {said}" if said else "")
            + ": the images drive it out of its domain; report them",
            **numbers,
        ) from e
