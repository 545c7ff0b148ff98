"""Residua: difference imaging as a service.

As a library: ``residua.subtract(residua.ScienceImage(...), [residua.TemplateImage(...)])``. What
is named here is imported when it is first used (PEP 562); ``import residua`` alone costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residua.subtraction import (
        BadImageError,
        BadSubtractionError,
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
        SubtractionConfig,
        SubtractionError,
        TemplateImage,
    )
    from residua.subtraction.subtract import subtract

    __version__: str

__all__ = [
    "BadImageError",
    "BadSubtractionError",
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
    "SpatialPolynomial",
    "SubtractionConfig",
    "SubtractionError",
    "TemplateImage",
    "__version__",
    "subtract",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value: object = import_module("importlib.metadata").version("residua")
    elif name == "subtract":
        value = import_module("residua.subtraction.subtract").subtract
    else:
        value = getattr(import_module("residua.subtraction"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
