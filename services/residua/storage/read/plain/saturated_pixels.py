"""Saturated pixels: by the level of a card, by hand, by the range of the camera's numbers."""

import numpy as np
import numpy.typing as npt

from residua.storage.conventions.values import number, positive, unreadable
from residua.storage.read.plain.plain_image import PlainImage

__all__ = ["find_saturated"]

_SATURATION_CARDS = (
    *("SATURATE", "SATLEVEL", "SATURVAL", "MAXLIN", "SATURATA", "SATURATB", "CELL.SATURATION"),
    "SATURAT",
)


def find_saturated(
    image: PlainImage, data: npt.NDArray[np.float32], notes: list[str]
) -> tuple[npt.NDArray[np.bool_], str]:
    """Return the saturated pixels by cards and by the camera's range, and the card.

    Parameters
    ----------
    image
        The image.
    data
        float32 (ny, nx), linear; nJy if the file's unit is a flux density.
    notes
        Where it is said what was not known, or not used.
    """
    cards = (*image.instrument.saturation_from, *_SATURATION_CARDS)
    found = positive(image.header, cards)
    notes.extend(unreadable(image.header, cards))
    level, source = found if found is not None else (None, "")
    # ESATUR: what remains of SATURATE once the sky has been subtracted.
    reduced = positive(image.header, ("ESATUR",))
    if level is not None and reduced is not None and reduced[0] < level:
        level, source = reduced
    # Cards speak of the file's own unit.
    factor = image.calibration.unit_found.to_njy or 1.0
    if level is not None and level * factor <= _typical(data):
        notes.append(f"{source} = {level:g} lies below half of the pixels: not used (--saturation)")
        level, source = None, ""
    if image.options.saturation is not None:
        level, source = image.options.saturation, "given by hand"
    ceiling = _integer_ceiling(image)
    if level is None:
        notes.append("no saturation level: only the image's own ceiling is flagged (--saturation)")
    limits = [v for v in (level, ceiling) if v is not None]
    if not limits:
        return np.zeros(data.shape, np.bool_), source
    said = "ceiling" if level is None else f"{source} = {level:g}"
    with np.errstate(invalid="ignore"):
        return np.asarray(data >= min(limits) * factor), said


def _typical(data: npt.NDArray[np.float32]) -> float:
    sample = data[:: 1 + data.shape[0] // 200, :: 1 + data.shape[1] // 200]
    sample = sample[np.isfinite(sample)]
    return float(np.median(sample)) if sample.size else float("-inf")


def _integer_ceiling(image: PlainImage) -> float | None:
    # 16-bit cameras end at 65535, whatever their cards say.
    header = image.hdu.header
    bits = image.hdu.header.get("BITPIX", image.header.get("BITPIX"))
    zero = number(header, "BZERO")
    dtype = getattr(image.hdu.data, "dtype", None)
    if dtype is not None and dtype.kind == "u" and dtype.itemsize == 2:
        return 65535.0
    if bits == 16 and zero is not None and number(header, "BSCALE") in {None, 1.0}:
        return zero + 32767.0
    return None
