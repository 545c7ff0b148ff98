"""Difference imaging on arrays: visit image minus PSF-matched template coadd.

Usable alone, as a library: `residua.subtraction.subtract.subtract` takes a `ScienceImage` and
`TemplateImage` patches (arrays and a WCS) and returns a `DifferenceImage`. It knows no file, no
message and no service. The function is not exported here, so that whoever needs a type or an
error alone does not wait for the compiler of the pixel passes.

What is named here is imported when it is first used (PEP 562): commands and services that need
a type or an error alone do not wait for numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residua.subtraction.config import QualityLimits, SubtractionConfig
    from residua.subtraction.detections import Detection
    from residua.subtraction.errors import (
        BadImageError,
        BadSubtractionError,
        DamagedSolutionError,
        InsufficientCoverageError,
        InsufficientKernelStarsError,
        NumericalError,
        StaleSolutionError,
        SubtractionError,
        UnknownArithmeticError,
    )
    from residua.subtraction.images import (
        DifferenceImage,
        MatchingKernel,
        PsfModel,
        ScienceImage,
        SpatialPolynomial,
        TemplateImage,
    )
    from residua.subtraction.masks import MaskBit
    from residua.subtraction.quality import QualityFlag, QualityRecord

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
    "SpatialPolynomial",
    "StaleSolutionError",
    "SubtractionConfig",
    "SubtractionError",
    "TemplateImage",
    "UnknownArithmeticError",
]

_MODULES = {
    "Detection": "detections",
    "QualityLimits": "config",
    "SubtractionConfig": "config",
    "MaskBit": "masks",
    "QualityFlag": "quality",
    "QualityRecord": "quality",
    "DifferenceImage": "images",
    "MatchingKernel": "images",
    "PsfModel": "images",
    "ScienceImage": "images",
    "SpatialPolynomial": "images",
    "TemplateImage": "images",
}
"""Modules of the names; the others are errors."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
