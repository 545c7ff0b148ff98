"""The pixels of a plain image as they were stored, made linear; masks among them refused."""

from typing import Any

import numpy as np
import numpy.typing as npt

from residua.errors import UnusableImageError
from residua.storage.conventions.values import number
from residua.storage.read.plain.plain_image import PlainImage

__all__ = ["linear_pixels"]

_FEWEST_VALUES = 32
_ASINH = 1.0857362
_HALF_RANGE = 32768
_LOWEST = -32768
_FEWEST_JUMPS = 4
_STILL = 0.25
"""Share of the jumps that may remain where numbers had wrapped."""


def linear_pixels(image: PlainImage, notes: list[str]) -> npt.NDArray[np.float32]:
    """Return the pixels, linear in flux; in nJy where the file's unit is a flux density.

    Parameters
    ----------
    image
        The image.
    notes
        Where it is said what was done.

    Raises
    ------
    residua.errors.UnusableImageError
        They are a mask's or a weight map's.
    """
    stored = np.asarray(image.hdu.data)
    stored = stored.reshape(stored.shape[-2:])
    _refuse_a_mask(stored, image.name)
    stored = _unwrapped(stored, notes)
    factor = image.calibration.unit_found.to_njy
    softening, offset = number(image.header, "BSOFTEN"), number(image.header, "BOFFSET")
    if (softening is None) != (offset is None):
        has, lacks = ("BSOFTEN", "BOFFSET") if offset is None else ("BOFFSET", "BSOFTEN")
        raise UnusableImageError(
            f"{image.name} has {has} and no {lacks}: pixels in asinh magnitudes need both to be "
            "made linear; add the card, or remove the other where they are linear"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        if softening is not None and offset is not None and stored.dtype.kind == "f":
            # Pan-STARRS: pixels are asinh magnitudes.
            notes.append("pixels are asinh-scaled (BOFFSET, BSOFTEN) and were made linear")
            linear = offset + softening * 2.0 * np.sinh(stored.astype(np.float64) / _ASINH)
            return linear.astype(np.float32)
        if factor is not None and factor != 1.0:
            # Scaled before anything is squared: cgs fluxes vanish in single precision.
            return np.asarray(stored * np.float64(factor), dtype=np.float32)
        return np.array(stored, dtype=np.float32, order="C")


def _unwrapped(stored: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[Any]:
    # Cameras count to 65535. A writer that forgot BZERO leaves signed numbers, and the cores of
    # bright stars, beyond 32767, become the most negative pixels of the image.
    if stored.dtype.kind != "i" or stored.dtype.itemsize != 2:
        return stored
    before = _jumps(stored)
    if before < _FEWEST_JUMPS:
        return stored
    unwrapped = stored.view(stored.dtype.str.replace("i", "u")).astype(np.float32)
    if _jumps(unwrapped) > _STILL * before:
        return stored
    count = int(np.count_nonzero(stored < 0))
    notes.append(
        f"{count} pixels are negative beside the brightest ones: unsigned numbers without BZERO, "
        "65536 added to them"
    )
    return unwrapped


def _jumps(pixels: npt.NDArray[Any]) -> int:
    # Neighbours half the range apart; the most negative number fills what holds no data.
    count = 0
    for one, other in (
        (pixels[:, 1:], pixels[:, :-1]),
        (pixels[1:], pixels[:-1]),
    ):
        far = np.abs(one.astype(np.int32) - other.astype(np.int32)) > _HALF_RANGE
        far &= (one != _LOWEST) & (other != _LOWEST)
        count += int(np.count_nonzero(far))
    return count


def _refuse_a_mask(stored: npt.NDArray[Any], name: str) -> None:
    sample = stored[:: max(1, stored.shape[0] // 256), :: max(1, stored.shape[1] // 256)]
    if stored.dtype.kind not in "iub" or stored.size < 10000:
        return
    values = np.unique(sample)
    if values.size <= _FEWEST_VALUES and values.size > 1:
        raise UnusableImageError(
            f"{name} holds {values.size} different values in all: a mask or weight map, not an "
            "image? Give such files with --mask or --weight",
            values=values.size,
        )
