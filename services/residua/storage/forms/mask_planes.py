"""Mask planes by name: from the bits of a file to those of `MaskBit`."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from residua.subtraction.masks import MaskBit

__all__ = ["DP1_NAMES", "afw_planes", "archive_planes", "remap"]

DP1_NAMES = {
    "SAT": "SATURATED",
    "INTRP": "INTERPOLATED",
    "CR": "COSMIC_RAY",
    "EDGE": "DETECTION_EDGE",
    "UNMASKEDNAN": "UNMASKED_NAN",
}
"""Mask plane names of Data Preview 1 (afw) where ``lsst.images`` has another."""


def archive_planes(header: Header) -> dict[str, int]:
    """Return plane name to bit number, from the ``MSKN``/``MSKM`` cards of ``lsst.images``."""
    return {
        str(header[key]): int(header[f"MSKM{key[4:]}"]).bit_length() - 1
        for key in header
        if key.startswith("MSKN")
    }


def afw_planes(header: Header) -> dict[str, int]:
    """Return plane name to bit number, from the ``MP_`` cards of afw, in new names."""
    planes = {}
    for key in header:
        if key.startswith("MP_"):
            name = key.removeprefix("MP_")
            planes[DP1_NAMES.get(name, name)] = int(header[key])
    return planes


def remap(array: npt.NDArray[np.integer], planes: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """Move the bits of a packed mask to those of `MaskBit`; unknown planes are dropped.

    Parameters
    ----------
    array
        Integer (ny, nx), one bit per plane.
    planes
        Plane name to bit number in ``array``.

    Returns
    -------
    mask
        int32 (ny, nx).
    """
    shifts: dict[int, int] = {}
    for name, bit in planes.items():
        if name in MaskBit.__members__:
            target = MaskBit[name].value.bit_length() - 1
            shifts[target - bit] = shifts.get(target - bit, 0) | (1 << bit)
    if set(shifts) == {0} and array.dtype == np.int32:
        return array & np.int32(shifts[0])
    # Loaded here: headers are read without numba.
    from residua.storage.forms.mask_kernel import move_bits

    mask = np.empty(array.shape, np.int32)
    # Planes that move alike move together.
    groups = np.array(sorted(shifts.items()), np.int64).reshape(-1, 2)
    source = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    move_bits(source, groups[:, 1].copy(), groups[:, 0].copy(), mask)
    return mask
