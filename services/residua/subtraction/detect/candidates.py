"""Detections: peaks of the matched-filter S/N."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.threads import run_strips
from residua.subtraction.images import FloatPlane

__all__ = ["Candidates", "find_candidates", "peak_offsets"]

type Array = npt.NDArray[np.float64]

_SEPARATION_FWHM = 0.75


@dataclass(frozen=True)
class Candidates:
    """Local extremes of the S/N beyond the threshold, most significant first.

    Parameters
    ----------
    x, y
        int64 (n,), pixels.
    signal_to_noise
        float64 (n,), signed.
    """

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    signal_to_noise: Array

    def __len__(self) -> int:
        return len(self.x)

    def select(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Candidates":
        """Only some of them."""
        return Candidates(self.x[keep], self.y[keep], self.signal_to_noise[keep])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _scan_strip(
    sn: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
    threshold: np.float32,
    first: int,
    end: int,
    found: npt.NDArray[np.int32],
) -> int:
    ny, nx = sn.shape
    n = 0
    for y in range(max(first, 1), min(end, ny - 1)):
        row = sn[y]
        for x in range(1, nx - 1):
            v = abs(row[x])
            if not v >= threshold or not good[y, x]:
                continue
            peak = True
            for b in range(-1, 2):
                for a in range(-1, 2):
                    # An opposite sign never is a rival; NaN compares false.
                    w = sn[y + b, x + a] if row[x] > 0 else -sn[y + b, x + a]
                    earlier = b < 0 or (b == 0 and a < 0)
                    if (a != 0 or b != 0) and (w > v or (earlier and w == v)):
                        peak = False
            if peak and n < found.shape[0]:
                found[n, 0] = y
                found[n, 1] = x
                n += 1
    return n


def find_candidates(
    signal_to_noise: FloatPlane,
    good: npt.NDArray[np.bool_],
    threshold: float,
    fwhm: float,
    *,
    threads: int = 1,
) -> Candidates:
    """Local extremes of at least ``threshold``, no two of one sign closer than 0.75 FWHM.

    Parameters
    ----------
    signal_to_noise
        float32 (ny, nx); NaN where it could not be measured.
    good
        bool (ny, nx): pixels on which a peak may lie.
    threshold
        Least abs(S/N).
    fwhm
        Of the difference's PSF, pixels.
    threads
        Threads to use; the result does not depend on it.
    """
    parts: dict[int, npt.NDArray[np.int32]] = {}

    def strip(first: int, end: int) -> None:
        found = np.empty(((end - first) * signal_to_noise.shape[1] // 4 + 1, 2), np.int32)
        n = _scan_strip(signal_to_noise, good, np.float32(threshold), first, end, found)
        parts[first] = found[:n].copy()

    run_strips(strip, signal_to_noise.shape[0], threads=threads)
    found = np.concatenate([parts[k] for k in sorted(parts)])
    y, x = found[:, 0].astype(np.int64), found[:, 1].astype(np.int64)
    values = signal_to_noise[y, x].astype(np.float64)
    order = np.argsort(-np.abs(values), kind="stable")
    x, y, values = x[order], y[order], values[order]
    alone = np.ones(len(x), np.bool_)
    distance = _SEPARATION_FWHM * fwhm
    cell = max(int(np.ceil(distance)), 1)
    ny, nx = signal_to_noise.shape
    heads = np.full((ny // cell + 1, nx // cell + 1), -1, np.int64)
    _suppress(x, y, values, distance, heads, alone)
    return Candidates(x[alone], y[alone], values[alone])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suppress(
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    distance: float,
    heads: npt.NDArray[np.int64],
    alone: npt.NDArray[np.bool_],
) -> None:
    """Drop peaks close to an accepted one; cells as wide as the distance hold the accepted."""
    cell = max(int(np.ceil(distance)), 1)
    links = np.empty(len(x), np.int64)
    n_cells_y, n_cells_x = heads.shape
    for k in range(len(x)):
        cy, cx = y[k] // cell, x[k] // cell
        for by in range(max(cy - 1, 0), min(cy + 2, n_cells_y)):
            for bx in range(max(cx - 1, 0), min(cx + 2, n_cells_x)):
                j = heads[by, bx]
                while j >= 0 and alone[k]:
                    if (
                        values[j] * values[k] > 0
                        and (x[j] - x[k]) ** 2 + (y[j] - y[k]) ** 2 < distance * distance
                    ):
                        alone[k] = False
                    j = links[j]
        if alone[k]:
            links[k] = heads[cy, cx]
            heads[cy, cx] = k


def _vertex(stamps: Array) -> tuple[Array, Array]:
    """Vertex (dx, dy) of the paraboloid through 3 x 3 pixels."""
    left, right = stamps[:, :, 0].mean(axis=1), stamps[:, :, 2].mean(axis=1)
    low, high = stamps[:, 0].mean(axis=1), stamps[:, 2].mean(axis=1)
    middle_x, middle_y = stamps[:, :, 1].mean(axis=1), stamps[:, 1].mean(axis=1)
    gx, gy = 0.5 * (right - left), 0.5 * (high - low)
    hxx, hyy = right + left - 2.0 * middle_x, high + low - 2.0 * middle_y
    hxy = 0.25 * (stamps[:, 2, 2] + stamps[:, 0, 0] - stamps[:, 0, 2] - stamps[:, 2, 0])
    determinant = hxx * hyy - hxy**2
    peaked = (hxx < 0) & (determinant > 0) & np.isfinite(determinant)
    safe = np.where(peaked, determinant, 1.0)
    dx = np.where(peaked, (hxy * gy - hyy * gx) / safe, 0.0)
    dy = np.where(peaked, (hxy * gx - hxx * gy) / safe, 0.0)
    return np.clip(dx, -0.75, 0.75), np.clip(dy, -0.75, 0.75)


def peak_offsets(candidates: Candidates, signal_to_noise: FloatPlane) -> tuple[Array, Array]:
    """Sub-pixel positions of peaks, from their pixels: where a paraboloid through 3 x 3 peaks.

    Parameters
    ----------
    candidates
        The peaks.
    signal_to_noise
        float32 (ny, nx).

    Returns
    -------
    dx, dy
        float64 (n,), at most 0.75 pixels.
    """
    ny, nx = signal_to_noise.shape
    offsets = np.arange(-1, 2)
    rows = np.clip(candidates.y[:, None] + offsets, 0, ny - 1)
    columns = np.clip(candidates.x[:, None] + offsets, 0, nx - 1)
    at = rows[:, :, None], columns[:, None, :]
    sign = np.sign(candidates.signal_to_noise)
    return _vertex(signal_to_noise[at].astype(np.float64) * sign[:, None, None])
