"""Mask files: which bits make a pixel unusable, by name, by instrument, by hand or by sight."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from residua.instruments import Instrument
from residua.storage.forms.mask_planes import afw_planes, archive_planes, remap
from residua.subtraction.masks import MaskBit

__all__ = ["flagged"]

_MANY = 0.03
_SPECKLED = 0.5


def flagged(
    values: npt.NDArray[Any],
    header: Header,
    image: npt.NDArray[np.floating],
    instrument: Instrument,
    bad_bits: int | None,
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Return a mask as `MaskBit` flags, and what was taken for what.

    Parameters
    ----------
    values
        Integer (ny, nx), as in the file.
    header
        Header of the mask plane.
    image
        float (ny, nx), finite where there is something to see.
    instrument
        Its description.
    bad_bits
        Bits that make a pixel ``BAD``, whatever else is known.
    """
    bits = values if values.dtype.kind in "iu" else np.nan_to_num(values).astype(np.int64)
    if bad_bits is not None:
        bad = (bits.astype(np.int64) & bad_bits) != 0
        return _bad(bad), (f"mask bits {bad_bits} are bad, the others not (--bad-bits)",)
    planes = archive_planes(header) or afw_planes(header)
    if planes:
        return remap(bits, planes), ()
    if int(bits.min()) < 0:
        return _bad(bits != 0), ("mask has negative values: every pixel not 0 is bad",)
    together = int(np.bitwise_or.reduce(bits, axis=None))
    present = [k for k in range(together.bit_length()) if together & (1 << k)]
    if instrument.mask_names or instrument.harmless_bits:
        return _described(bits.astype(np.int64), instrument, present)
    harmless = {}
    for k in present:
        reason = _harmless((bits & (1 << k)) != 0, image)
        if reason:
            harmless[k] = reason
    good = sum(1 << k for k in harmless)
    notes = [f"mask bit {k} ({1 << k}) {reason}: not bad" for k, reason in harmless.items()]
    kept = [k for k in present if k not in harmless]
    if kept:
        notes.append(f"mask bits {', '.join(map(str, kept))} taken as bad")
    bad = (bits & (together & ~good)) != 0
    if together == 1 and np.mean(bad) > 0.5:
        notes.append("most pixels are flagged: a mask where 1 is good? (--bad-bits)")
    return _bad(bad), tuple(notes)


def _bad(pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    return np.where(pixels, np.int32(MaskBit.BAD), np.int32(0)).astype(np.int32)


def _described(
    bits: npt.NDArray[np.int64], instrument: Instrument, present: Sequence[int]
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    names = {name: bit for bit, name in instrument.mask_names.items()}
    mask = remap(bits, names)
    known = sum(1 << k for k in {*names.values(), *instrument.harmless_bits})
    mask |= _bad((bits & ~known) != 0)
    left = [k for k in present if k in instrument.harmless_bits]
    note = f"mask bits {', '.join(map(str, left))} are harmless for {instrument.name}"
    return mask, (note,) if left else ()


def _harmless(pixels: npt.NDArray[np.bool_], image: npt.NDArray[np.floating]) -> str:
    """Return why the pixels of a bit are as good as the others; empty if they are not."""
    finite = np.isfinite(image)
    others = image[finite & ~pixels]
    inside = image[finite & pixels]
    if others.size < 1000 or inside.size < 20:
        return ""
    level = float(np.median(others))
    sigma = 1.4826 * float(np.median(np.abs(others - level)))
    if sigma <= 0.0:
        return ""
    bright = finite & (image > level + 5.0 * sigma)
    n_bright = int(bright.sum())
    if n_bright > 50:
        # Not saturation, which has the brightest of them only.
        covered = int((bright & pixels).sum()) / n_bright
        if covered > 0.7 and float(np.mean(inside > level + 2.0 * sigma)) > 0.7:
            return "marks the sources"
    if pixels.mean() < _MANY:
        return ""
    beside = float(np.mean(pixels[:, 1:][pixels[:, :-1]]))
    spread = 1.4826 * float(np.median(np.abs(inside - np.median(inside))))
    alike = abs(float(np.median(inside)) - level) < 0.2 * sigma and 0.9 < spread / sigma < 1.1
    if beside < _SPECKLED and alike:
        return f"is on {100.0 * float(pixels.mean()):.0f} % of the pixels, which look like the rest"
    return ""
