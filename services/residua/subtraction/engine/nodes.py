"""The coarse grids of the spatially varying filters: blocks of constant taps, and nodes."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "BLOCK",
    "CHUNK",
    "NODE_DISTANCE",
    "bilinear_weights",
    "block_centres",
    "node_positions",
]

BLOCK = 32
"""Side of the blocks on which taps are constant, pixels."""
CHUNK = 512
"""Columns done at a time, so that intermediate rows stay in the first cache."""
NODE_DISTANCE = 512.0
"""Largest distance of the nodes between which filters are interpolated, pixels."""

type Array = npt.NDArray[np.float64]
type Array32 = npt.NDArray[np.float32]


def block_centres(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Pixel coordinates (y, x) of the centres of the blocks, as two 1-D arrays."""
    ny, nx = shape
    y = np.arange(-(-ny // BLOCK)) * BLOCK + 0.5 * (BLOCK - 1)
    x = np.arange(-(-nx // CHUNK) * (CHUNK // BLOCK)) * BLOCK + 0.5 * (BLOCK - 1)
    return np.minimum(y, ny - 1.0), np.minimum(x, nx - 1.0)


def node_positions(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Pixel coordinates (y, x) of the nodes: from border to border, at most 512 px apart."""
    y, x = (np.linspace(0.0, n - 1.0, max(3, int(np.ceil(n / NODE_DISTANCE)) + 1)) for n in shape)
    return y, x


def bilinear_weights(
    shape: tuple[int, int], centres: tuple[Array, Array] | None = None
) -> tuple[Array32, npt.NDArray[np.int32]]:
    """Weights and node numbers of bilinear interpolation between nodes at block centres.

    Parameters
    ----------
    shape
        (ny, nx) of the image.
    centres
        Of the blocks wanted, y and x; default all.

    Returns
    -------
    weights
        float32 (n_block_rows, n_block_columns, 4).
    sets
        int32, same shape: index into the nodes in C order.
    """
    nodes = node_positions(shape)
    if centres is None:
        centres = block_centres(shape)
    lower, fraction = [], []
    for node, centre in zip(nodes, centres, strict=True):
        step = node[1] - node[0]
        index = np.clip(np.floor(centre / step).astype(np.int32), 0, node.size - 2)
        lower.append(index)
        fraction.append(centre / step - index)
    (iy, ix), (fy, fx) = lower, fraction
    n_x = nodes[1].size
    corner = [(0, 0), (0, 1), (1, 0), (1, 1)]
    sets = np.stack([(iy[:, None] + a) * n_x + ix[None, :] + b for a, b in corner], axis=-1)
    weights = np.stack(
        [
            np.where(a, fy, 1.0 - fy)[:, None] * np.where(b, fx, 1.0 - fx)[None, :]
            for a, b in corner
        ],
        axis=-1,
    )
    return weights.astype(np.float32), sets.astype(np.int32)
