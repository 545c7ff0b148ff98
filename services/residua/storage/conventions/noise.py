"""Is the noise that was predicted the noise that is there? Checked in both directions.

Gains that belong to other pixels, weights that are relative, sigmas taken for variances, stacks
of averaged frames: all of them show in one number, measured over predicted variance of the sky.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NoiseCheck", "check_noise", "sampled"]

LOW, HIGH = 0.5, 2.0
"""Measured over predicted variance between which a prediction is believed."""

_BLOCK = 4
_CORRELATED = 1.15


@dataclass(frozen=True)
class NoiseCheck:
    """Measured against predicted noise of the sky's pixels.

    Parameters
    ----------
    predicted, measured
        Standard deviations, unit of the image. ``measured`` is a pixel's own; `NaN` where there
        is nothing to measure.
    ratio
        Measured over predicted variance, the nearest to one that structure and correlation of
        the noise allow.
    """

    predicted: float
    measured: float
    ratio: float

    @property
    def believed(self) -> bool:
        """Whether the prediction stands."""
        return not np.isfinite(self.ratio) or LOW <= self.ratio <= HIGH


def check_noise(
    image: npt.NDArray[np.floating],
    variance: npt.NDArray[np.floating],
    good: npt.NDArray[np.bool_],
) -> NoiseCheck:
    """Compare a variance plane with the noise of the pixels.

    What the pixels show too much may be unresolved sources or a slope: there the differences of
    neighbours are asked. What they show too little may be correlation (resampled images have
    it): there the scatter of blocks of pixels is asked.

    Parameters
    ----------
    image, variance
        float (ny, nx).
    good
        bool (ny, nx), pixels to use.
    """
    image, variance, good = sampled(image), sampled(variance), sampled(good)
    usable = good & np.isfinite(variance) & (variance > 0.0)
    if int(usable.sum()) < 400:
        return NoiseCheck(float("nan"), float("nan"), float("nan"))
    scaled = np.where(usable, image / np.sqrt(np.where(usable, variance, 1.0)), np.nan)
    scaled = scaled.astype(np.float32)
    predicted = float(np.sqrt(np.median(variance[usable])))
    pairs = scaled[:, 1:] - scaled[:, :-1]
    neighbours = _spread(pairs[np.isfinite(pairs)]) / np.sqrt(2.0)
    pixels = _spread(_local(scaled))
    blocks = _blocks(scaled)
    if blocks < _CORRELATED * pixels:
        # That much is the light of sources in the blocks.
        blocks = float("nan")
    highest = max(v for v in (neighbours, pixels, blocks) if np.isfinite(v))
    lowest = min(v for v in (neighbours, pixels) if np.isfinite(v))
    ratio = lowest**2 if lowest**2 > 1.0 else min(1.0, highest**2)
    return NoiseCheck(predicted, predicted * pixels, float(ratio))


def sampled[T: np.generic](plane: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return strips of a large plane, the same of each: what `check_noise` looks at.

    The noise is not another elsewhere by the factor looked for.
    """
    strips, rows = 12, 32
    if plane.size < 2_000_000 or plane.shape[0] <= strips * rows:
        return plane
    starts = np.linspace(0, plane.shape[0] - rows, strips).astype(int)
    return np.concatenate([plane[s : s + rows] for s in starts])


def _spread(values: npt.NDArray[np.floating]) -> float:
    if values.size < 50:
        return float("nan")
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _local(scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # About the median of 32 x 32 pixels, so that the sky's own shape does not count.
    ny, nx = (n // 32 * 32 for n in scaled.shape)
    if min(ny, nx) < 32:
        return scaled[np.isfinite(scaled)]
    tiles = scaled[:ny, :nx].reshape(ny // 32, 32, nx // 32, 32).transpose(0, 2, 1, 3)
    cells = tiles.reshape(-1, 1024)
    full = np.isfinite(cells).sum(axis=1) > 512
    cells = cells[full]
    if not len(cells):
        return scaled[np.isfinite(scaled)]
    cells = cells[:: max(1, len(cells) // 256)]
    flat = cells - np.nanmedian(cells, axis=1, keepdims=True)
    return np.asarray(flat[np.isfinite(flat)], np.float32)


def _blocks(scaled: npt.NDArray[np.float32]) -> float:
    ny, nx = (n // _BLOCK * _BLOCK for n in scaled.shape)
    blocks = scaled[:ny, :nx].reshape(ny // _BLOCK, _BLOCK, nx // _BLOCK, _BLOCK)
    means = blocks.mean(axis=(1, 3))
    pairs = means[:, 1:] - means[:, :-1]
    # Neighbouring blocks, so that slopes do not count.
    return _spread(pairs[np.isfinite(pairs)]) * _BLOCK / float(np.sqrt(2.0))
