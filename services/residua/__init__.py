"""Residua: difference imaging as a service.

As a library: ``residua.subtract(residua.ScienceImage(...), [residua.TemplateImage(...)])``. What
is named here is imported when it is first used (PEP 562); ``import residua`` alone costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from residua.writable import prepare

if TYPE_CHECKING:
    from residua.subtraction import (
        BadImageError,
        BadSubtractionError,
        DamagedSolutionError,
        Detection,
        DifferenceImage,
        InsufficientCoverageError,
        InsufficientKernelStarsError,
        MaskBit,
        MatchingKernel,
        NumericalError,
        PsfModel,
        QualityFlag,
        QualityLimits,
        QualityRecord,
        ScienceImage,
        SpatialPolynomial,
        StaleSolutionError,
        SubtractionConfig,
        SubtractionError,
        TemplateImage,
        UnknownArithmeticError,
    )
    from residua.subtraction.solve import solve, solve_and_apply
    from residua.subtraction.steps.apply import apply
    from residua.subtraction.steps.solution import Solution
    from residua.subtraction.subtract import subtract

    __version__: str

__all__ = [
    "BadImageError",
    "BadSubtractionError",
    "DamagedSolutionError",
    "Detection",
    "DifferenceImage",
    "InsufficientCoverageError",
    "InsufficientKernelStarsError",
    "MaskBit",
    "MatchingKernel",
    "NumericalError",
    "PsfModel",
    "QualityFlag",
    "QualityLimits",
    "QualityRecord",
    "ScienceImage",
    "Solution",
    "SpatialPolynomial",
    "StaleSolutionError",
    "SubtractionConfig",
    "SubtractionError",
    "TemplateImage",
    "UnknownArithmeticError",
    "__version__",
    "apply",
    "solve",
    "solve_and_apply",
    "subtract",
]

prepare()

_MODULES = {
    "Solution": "steps.solution",
    "apply": "steps.apply",
    "solve": "solve",
    "solve_and_apply": "solve",
    "subtract": "subtract",
}
"""Modules of the names that need the compiler of the pixel passes."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value: object = import_module("importlib.metadata").version("residua")
    elif name in _MODULES:
        value = getattr(import_module(f"residua.subtraction.{_MODULES[name]}"), name)
    else:
        value = getattr(import_module("residua.subtraction"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
