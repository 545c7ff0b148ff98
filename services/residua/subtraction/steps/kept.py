"""Rounding of what is kept: numbers in no more digits than they have."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from residua.subtraction.detections import Detection
from residua.subtraction.quality import QualityRecord

__all__ = ["ANGLES", "POSITIONS", "float_columns", "kept_detections", "kept_quality"]

ANGLES = ("ra", "dec", "trail_ra", "trail_dec")
"""Kept to 1e-9 deg."""
POSITIONS = ("x", "y")
"""Kept to 2^-16 px."""
_FLUX_BITS, _OTHER_BITS = 16, 12
"""Of the mantissa: a flux to 8e-6 of itself, errors and shapes to 1.2e-4."""


def float_columns() -> list[str]:
    """Names of a detection's numbers that are neither angles, positions, counts nor flags."""
    return [
        f.name
        for f in fields(Detection)
        if f.type in (float, "float") and f.name not in ANGLES + POSITIONS
    ]


def kept_detections(detections: tuple[Detection, ...]) -> tuple[Detection, ...]:
    """Round detections to what is kept of them."""
    if not detections:
        return ()
    columns: dict[str, list[Any]] = {}
    for name in (*ANGLES, *POSITIONS, *float_columns()):
        values = np.array([getattr(d, name) for d in detections], np.float64)
        if name in ANGLES:
            rounded = np.rint(values * 1e9) / 1e9 + 0.0
        elif name in POSITIONS:
            rounded = np.rint(values * 2.0**16) / 2.0**16 + 0.0
        else:
            flux = "flux" in name or name == "signal_to_noise"
            error = "error" in name
            bits = _FLUX_BITS if flux and not error else _OTHER_BITS
            mantissa, exponent = np.frexp(values)
            rounded = np.ldexp(np.rint(mantissa * 2.0**bits) / 2.0**bits, exponent)
            rounded = rounded.astype(np.float32).astype(np.float64)
        columns[name] = rounded.tolist()
    return tuple(
        replace(d, **{name: values[k] for name, values in columns.items()})
        for k, d in enumerate(detections)
    )


def kept_quality(record: QualityRecord) -> QualityRecord:
    """Record with plain numbers of Python."""
    plain: dict[str, Any] = {}
    for f in fields(record):
        value = getattr(record, f.name)
        if isinstance(value, bool | np.bool_):
            plain[f.name] = bool(value)
        elif isinstance(value, int | np.integer):
            plain[f.name] = int(value)
        elif isinstance(value, float | np.floating):
            plain[f.name] = float(value)
    flags = tuple(
        replace(flag, value=float(flag.value), limit=float(flag.limit)) for flag in record.flags
    )
    return replace(record, **plain, flags=flags)
