"""Connected regions of a plane: runs of pixels joined row by row (Rosenfeld & Pfaltz 1966)."""

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["bit_runs", "connect", "runs", "set_runs"]

type FloatPlane = npt.NDArray[np.float32]
type Integers = npt.NDArray[np.int64]

_PIECE = 64


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count(sn: FloatPlane, sign: np.float32, threshold: np.float32, counts: Integers) -> None:
    """Upper bound of the runs of each row: the pixels at which a run can begin."""
    ny, nx = sn.shape
    for y in range(ny):
        n = 0
        for start in range(0, nx, _PIECE):
            # Most pieces have nothing: vector instructions find that out.
            piece = sn[y, start : min(start + _PIECE, nx)]
            beyond = np.int32(0)
            for k in range(piece.size):
                beyond += np.int32(sign * piece[k] >= threshold)
            if beyond == 0:
                continue
            inside = start > 0 and sign * sn[y, start - 1] >= threshold
            for k in range(piece.size):
                now = sign * piece[k] >= threshold
                n += now and not inside
                inside = now
        counts[y] = n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fill_runs(
    sn: FloatPlane,
    sign: np.float32,
    threshold: np.float32,
    starts: Integers,
    rows: Integers,
    first: Integers,
    last: Integers,
) -> None:
    ny, nx = sn.shape
    for y in range(ny):
        n = starts[y]
        if starts[y + 1] == n:
            continue
        inside = False
        for x in range(nx):
            now = sign * sn[y, x] >= threshold
            if now and not inside:
                rows[n], first[n] = y, x
                n += 1
            if now:
                last[n - 1] = x
            inside = now


def runs(
    sn: FloatPlane, sign: np.float32, threshold: np.float32
) -> tuple[Integers, Integers, Integers, Integers]:
    """Find the runs of pixels beyond a threshold.

    Parameters
    ----------
    sn
        float32 (ny, nx); NaN is in no run.
    sign
        1, or -1 for pixels below minus the threshold.
    threshold
        Unit of the plane.

    Returns
    -------
    rows, first, last
        int64 (n,): row, first and last column of each run, in reading order.
    starts
        int64 (ny + 1,): first run of each row.
    """
    counts = np.zeros(sn.shape[0], np.int64)
    _count(sn, sign, threshold, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows, first, last = (np.empty(starts[-1], np.int64) for _ in range(3))
    _fill_runs(sn, sign, threshold, starts, rows, first, last)
    return rows, first, last, starts


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _root(parent: Integers, run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@numba.njit(nogil=True, cache=True, error_model="numpy")
def connect(first: Integers, last: Integers, starts: Integers) -> Integers:
    """Join the runs that touch, diagonally too: int64 (n,), the root of each run's region."""
    parent = np.arange(first.size)
    for y in range(1, starts.size - 1):
        above, end = starts[y - 1], starts[y]
        for run in range(starts[y], starts[y + 1]):
            while above < end and last[above] < first[run] - 1:
                above += 1
            other = above
            while other < end and first[other] <= last[run] + 1:
                a, b = _root(parent, other), _root(parent, run)
                parent[max(a, b)] = min(a, b)
                other += 1
    for run in range(parent.size):
        parent[run] = _root(parent, run)
    return parent


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _bit_runs(mask: npt.NDArray[np.int32], bit: np.int32, out: npt.NDArray[np.int32]) -> int:
    """Write row, first and last column of each run, as many as there is room for; count all."""
    ny, nx = mask.shape
    n = 0
    for y in range(ny):
        inside = False
        for start in range(0, nx, _PIECE):
            piece = mask[y, start : min(start + _PIECE, nx)]
            found = np.int32(0)
            for k in range(piece.size):
                found |= piece[k] & bit
            if found == 0 and not inside:
                continue
            for k in range(piece.size):
                now = (piece[k] & bit) != 0
                if now and not inside:
                    n += 1
                    if n <= out.shape[0]:
                        out[n - 1, 0], out[n - 1, 1] = y, start + k
                if now and n <= out.shape[0]:
                    out[n - 1, 2] = start + k
                inside = now
    return n


def bit_runs(mask: npt.NDArray[np.int32], bit: int) -> npt.NDArray[np.int32]:
    """Find the runs of pixels that carry a bit: int32 (n, 3), row, first and last column."""
    out = np.empty((4096, 3), np.int32)
    n = _bit_runs(mask, np.int32(bit), out)
    if n > len(out):
        out = np.empty((n, 3), np.int32)
        _bit_runs(mask, np.int32(bit), out)
    return out[:n].copy()


@numba.njit(nogil=True, cache=True, error_model="numpy")
def set_runs(
    mask: npt.NDArray[np.int32],
    runs: npt.NDArray[np.int32],
    bit: np.int32,
    y0: int,
    x0: int,
) -> None:
    """Set a bit on the runs (row, first, last) that lie in a plane which begins at (y0, x0)."""
    ny, nx = mask.shape
    for k in range(runs.shape[0]):
        y = runs[k, 0] - y0
        if 0 <= y < ny:
            for x in range(max(runs[k, 1] - x0, 0), min(runs[k, 2] - x0 + 1, nx)):
                mask[y, x] |= bit
