"""Bits of a packed mask moved in one pass over the pixels."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["move_bits"]


@numba.njit(nogil=True, cache=True)
def move_bits(
    source: npt.NDArray[Any],
    wanted: npt.NDArray[np.int64],
    shifts: npt.NDArray[np.int64],
    out: npt.NDArray[np.int32],
) -> None:
    """Write to ``out`` the ``wanted`` bits of each pixel, each group moved up by its shift."""
    ny, nx = source.shape
    for j in range(ny):
        for i in range(nx):
            bits = np.int64(source[j, i])
            if bits == 0:
                out[j, i] = 0
                continue
            moved = np.int64(0)
            for k in range(wanted.size):
                group = bits & wanted[k]
                moved |= group << shifts[k] if shifts[k] >= 0 else group >> -shifts[k]
            out[j, i] = np.int32(moved)
