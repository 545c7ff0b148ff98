"""Which part of which template patch lies behind each tile of the science image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.align.aligned import whole_pixel_shift
from residua.subtraction.align.lanczos import phase_covariance, warp_covariance
from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.align.warp_kernel import TILE
from residua.subtraction.engine.nodes import NODE_DISTANCE, node_positions
from residua.subtraction.engine.window import Window

__all__ = [
    "Patch",
    "WarpPlan",
    "central_jacobian",
    "plan_patch",
    "plan_warp",
    "scratch_extent",
    "warped_noise_covariance",
]

_LARGEST_LAG = 31
_UNIFORM_DRIFT = 3.0
"""Template pixels by which the phase must drift between nodes to count as uniform."""
_PHASE_SAMPLES = 24
_MARGIN_LOW = 3
_MARGIN_HIGH = 4
"""Template pixels needed before and behind a position, with one to spare."""


@dataclass(frozen=True)
class Patch:
    """The map onto one template, and what each tile needs of it."""

    shape: tuple[int, int]
    """(ny, nx) of the template, pixels."""
    pixel_map: PixelMap
    areas: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.int64]
    """(n_tile_rows, n_tile_columns, 4): x0, x1, y0, y1 (half open) of the pixels needed."""
    overlaps: npt.NDArray[np.bool_]
    nearest: npt.NDArray[np.float64]
    """Least distance of a tile's pixels from the patch's border, template pixels."""
    farthest: npt.NDArray[np.float64]
    """Upper bound of that distance in the tile."""


def plan_patch(size: tuple[int, int], pixel_map: PixelMap, shape: tuple[int, int]) -> Patch:
    """Find out which part of a patch of that size each tile needs."""
    ny, nx = size
    per_tile = TILE // pixel_map.step
    tiles = tuple(-(-n // TILE) for n in shape)
    padded = [
        np.pad(g, [(0, t * per_tile + 1 - n) for t, n in zip(tiles, g.shape, strict=True)], "edge")
        for g in (pixel_map.x, pixel_map.y)
    ]
    windows = [
        np.lib.stride_tricks.sliding_window_view(g, (per_tile + 1, per_tile + 1))[
            ::per_tile, ::per_tile
        ]
        for g in padded
    ]
    known = np.all([np.isfinite(w).all(axis=(2, 3)) for w in windows], axis=0)
    low, high = (
        [np.where(known, f(w, axis=(2, 3)), -1.0e6) for w in windows] for f in (np.min, np.max)
    )
    boxes = np.stack(
        [
            np.floor(low[0]) - _MARGIN_LOW,
            np.floor(high[0]) + _MARGIN_HIGH + 1,
            np.floor(low[1]) - _MARGIN_LOW,
            np.floor(high[1]) + _MARGIN_HIGH + 1,
        ],
        axis=-1,
    ).astype(np.int64)
    overlaps = known & (high[0] >= 0) & (low[0] <= nx - 1) & (high[1] >= 0) & (low[1] <= ny - 1)
    sides = [
        (low[0], high[0]),
        (nx - 1 - high[0], nx - 1 - low[0]),
        (low[1], high[1]),
        (ny - 1 - high[1], ny - 1 - low[1]),
    ]
    return Patch(
        shape=(ny, nx),
        pixel_map=PixelMap(padded[0], padded[1], pixel_map.step, pixel_map.error),
        areas=np.pad(
            pixel_map.areas(),
            [(0, p - n) for p, n in zip(padded[0].shape, pixel_map.x.shape, strict=True)],
            "edge",
        ),
        boxes=boxes,
        overlaps=overlaps,
        nearest=np.min([s[0] for s in sides], axis=0),
        farthest=np.min([s[1] for s in sides], axis=0),
    )


@dataclass(frozen=True)
class WarpPlan:
    """Where every tile of the science image comes from.

    Parameters
    ----------
    shape
        (ny, nx) of the science image.
    size
        (ny, nx) of the first patch.
    shift
        Whole pixels (x, y), where a single patch lies on the science image's pixels already.
    patches
        The patches; none where ``shift`` says all.
    best
        (n_tile_rows, n_tile_columns): number of the patch that comes first.
    shared
        bool, likewise: tiles that several patches overlap.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    shift: tuple[int, int] | None
    patches: tuple[Patch, ...]
    best: npt.NDArray[np.intp]
    shared: npt.NDArray[np.bool_]

    def needed(self, number: int, window: Window) -> tuple[slice, slice] | None:
        """Rectangle of a patch that the window's tiles need; `None` if they need nothing."""
        if self.shift is not None:
            low = [self.shift[1] + window.y0, self.shift[0] + window.x0]
            high = [a + n for a, n in zip(low, window.shape, strict=True)]
            size = self.size
        else:
            patch = self.patches[number]
            rows, columns = (
                slice(first // TILE, -(-(first + n) // TILE))
                for first, n in zip((window.y0, window.x0), window.shape, strict=True)
            )
            boxes = patch.boxes[rows, columns][patch.overlaps[rows, columns]]
            if not boxes.size:
                return None
            low = [int(boxes[:, 2].min()), int(boxes[:, 0].min())]
            high = [int(boxes[:, 3].max()), int(boxes[:, 1].max())]
            size = patch.shape
        low = [max(a, 0) for a in low]
        high = [min(b, n) for b, n in zip(high, size, strict=True)]
        if high[0] <= low[0] or high[1] <= low[1]:
            return None
        return slice(low[0], high[0]), slice(low[1], high[1])


def plan_warp(
    sizes: Sequence[tuple[int, int]], pixel_maps: Sequence[PixelMap], shape: tuple[int, int]
) -> WarpPlan:
    """Plan the warp of patches of given sizes (ny, nx), pixels."""
    shift = whole_pixel_shift(pixel_maps[0]) if len(sizes) == 1 else None
    if shift is not None:
        nothing = np.zeros((0, 0), np.intp)
        return WarpPlan(shape, sizes[0], shift, (), nothing, nothing.astype(np.bool_))
    patches = tuple(plan_patch(s, m, shape) for s, m in zip(sizes, pixel_maps, strict=True))
    best = np.argmax(
        [np.where(p.overlaps, p.nearest + 1e-3 * p.farthest, -np.inf) for p in patches], axis=0
    )
    shared = np.sum([p.overlaps for p in patches], axis=0) > 1
    return WarpPlan(shape, sizes[0], None, patches, best, shared)


def scratch_extent(patch: Patch, axis: int) -> int:
    """Rows (axis 0) or columns (axis 1) of scratch that the patch's tiles need."""
    low, high = (2, 3) if axis == 0 else (0, 1)
    size = (patch.boxes[..., high] - patch.boxes[..., low])[patch.overlaps].max()
    # The interpolation reads whole vectors of eight.
    return int(size) + 1 if axis == 0 else -(-(int(size) + 8) // 16) * 16


def central_jacobian(patches: Sequence[Patch], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Jacobian at the overlapping tile nearest the detector's centre."""
    ny, nx = shape
    centre_y, centre_x = 0.5 * (ny - 1), 0.5 * (nx - 1)
    found = np.eye(2)
    least = np.inf
    for patch in patches:
        y, x = np.nonzero(patch.overlaps)
        if y.size == 0:
            continue
        tile_y = np.clip((y + 0.5) * TILE, 0, ny - 1)
        tile_x = np.clip((x + 0.5) * TILE, 0, nx - 1)
        distance = np.hypot(tile_y - centre_y, tile_x - centre_x)
        nearest = int(np.argmin(distance))
        if distance[nearest] < least:
            least = float(distance[nearest])
            found = patch.pixel_map.jacobian(float(tile_x[nearest]), float(tile_y[nearest]))
    return found


def warped_noise_covariance(
    patches: Sequence[Patch],
    best: npt.NDArray[np.intp],
    jacobian: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> npt.NDArray[np.float64]:
    """Autocovariance of the warped noise at the nodes."""
    nodes_y, nodes_x = node_positions(shape)
    # Lags at which the two footprints of 6 x 6 template pixels can still meet.
    reach = 6.0 * np.sqrt(2.0) * float(np.linalg.norm(np.linalg.inv(jacobian), 2))
    half_width = min(int(np.ceil(reach)), _LARGEST_LAG)
    covariance = np.empty((nodes_y.size * nodes_x.size, *[2 * half_width + 1] * 2))
    covariance[:] = warp_covariance(jacobian, half_width)
    drift = np.abs(jacobian - np.rint(jacobian)).max() * NODE_DISTANCE
    if drift > _UNIFORM_DRIFT:
        return covariance
    step = [n[1] - n[0] for n in (nodes_y, nodes_x)]
    offset = (np.arange(_PHASE_SAMPLES) + 0.5) / _PHASE_SAMPLES - 0.5
    for number, (y, x) in enumerate((y, x) for y in nodes_y for x in nodes_x):
        tile = min(int(y) // TILE, best.shape[0] - 1), min(int(x) // TILE, best.shape[1] - 1)
        patch = patches[best[tile]]
        if not patch.overlaps[tile]:
            continue
        # Whole pixels: it is their phases that count.
        sample_y = np.rint(np.clip(y + step[0] * offset, 0, shape[0] - 1))[:, None]
        sample_x = np.rint(np.clip(x + step[1] * offset, 0, shape[1] - 1))[None, :]
        px, py = patch.pixel_map.positions(*np.broadcast_arrays(sample_x, sample_y))
        known = np.isfinite(px)
        covariance[number] = phase_covariance(px[known], py[known], jacobian, half_width)
    return covariance
