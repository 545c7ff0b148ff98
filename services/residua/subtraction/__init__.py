"""Difference imaging on arrays: visit image minus PSF-matched template coadd.

Usable alone, as a library: `residua.subtraction.subtract.subtract` takes a `ScienceImage` and
`TemplateImage` patches (arrays and a WCS) and returns a `DifferenceImage`. It knows no file, no
message and no service. The function is not exported here, so that whoever needs a type or an
error alone does not wait for the compiler of the pixel passes.
"""

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
