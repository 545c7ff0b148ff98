"""Sky of a plain image: a smooth background, and how much noise the sky contributes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header
from scipy import ndimage

__all__ = ["SkyModel", "count_variance", "estimate_sky"]

_SKY_CARDS = ("AVSKY", "SKYBRITE", "SKYLEVEL", "SKYADU", "SKYMED", "BACKGND", "SKYVAL", "SKY")
_MAD_TO_SIGMA = 1.482602


@dataclass(frozen=True)
class SkyModel:
    """The sky of an image.

    Parameters
    ----------
    background
        float32 (ny, nx), to be subtracted; unit of the image.
    level
        Median of the background.
    noise
        Robust standard deviation of the pixels about it.
    """

    background: npt.NDArray[np.float32]
    level: float
    noise: float


def estimate_sky(
    image: npt.NDArray[np.floating], good: npt.NDArray[np.bool_], *, mesh: int = 128
) -> SkyModel:
    """Estimate a smooth sky: clipped medians on a mesh, smoothed and interpolated by splines.

    The mode of each cell is ``2.5 median - 1.5 mean`` of its clipped pixels where that is
    robust, else the median (Bertin & Arnouts 1996, section 7.1).

    Parameters
    ----------
    image
        float (ny, nx).
    good
        bool (ny, nx), pixels to use.
    mesh
        Side of a cell, pixels; images smaller than four cells have larger relative cells.
    """
    ny, nx = image.shape
    rows = max(1, round(ny / mesh))
    columns = max(1, round(nx / mesh))
    y_edges = np.linspace(0, ny, rows + 1).astype(int)
    x_edges = np.linspace(0, nx, columns + 1).astype(int)
    cells = np.full((rows, columns), np.nan)
    spreads = np.full((rows, columns), np.nan)
    for j in range(rows):
        for i in range(columns):
            box = np.s_[y_edges[j] : y_edges[j + 1], x_edges[i] : x_edges[i + 1]]
            values = image[box][good[box]].astype(np.float64)
            if values.size >= 50:
                cells[j, i], spreads[j, i] = _mode(values)
    if not np.any(np.isfinite(cells)):
        return SkyModel(np.zeros(image.shape, np.float32), 0.0, float("nan"))
    level = float(np.nanmedian(cells))
    cells = np.where(np.isfinite(cells), cells, level)
    if min(cells.shape) <= 2:
        # Too few cells to tell the sky's slope from its sources.
        background = np.full(image.shape, level, np.float32)
    else:
        background = _interpolate(_without_outliers(cells), image.shape)
    return SkyModel(background, level, float(np.nanmedian(spreads)))


def _without_outliers(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # A cell full of a galaxy stands out from its neighbours; a slope does not, also not at the
    # border if it is continued straight on.
    padded = np.pad(cells, 1, mode="reflect", reflect_type="odd")
    median = ndimage.median_filter(padded, size=3)[1:-1, 1:-1]
    deviation = cells - median
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(deviation)))
    return np.where(np.abs(deviation) > 3.0 * max(scatter, 1e-12), median, cells)


def _interpolate(cells: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    # Continued straight on beyond the outermost cell centres.
    padded = np.pad(cells, 1, mode="reflect", reflect_type="odd")
    axes = [(np.arange(n) + 0.5) * m / n + 0.5 for n, m in zip(shape, cells.shape, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    background = ndimage.map_coordinates(padded, grid, order=3, mode="nearest", output=np.float32)
    return np.asarray(background, dtype=np.float32)


def _mode(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    for _ in range(10):
        median = float(np.median(values))
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - median)))
        keep = np.abs(values - median) <= 3.0 * sigma
        if sigma == 0.0 or bool(keep.all()):
            break
        values = values[keep]
    median, mean, sigma = float(np.median(values)), float(values.mean()), float(values.std())
    if sigma > 0.0 and abs(mean - median) < 0.3 * sigma:
        return 2.5 * median - 1.5 * mean, sigma
    return median, sigma


def count_variance(
    image: npt.NDArray[np.floating],
    sky: SkyModel,
    header: Header,
    gain: float,
    read_noise: float,
    *,
    scale: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Variance of an image in counts: read noise, Poisson noise of sources and of the sky.

    The sky's share comes from the sky still in the image when that explains its noise; else,
    the sky having been subtracted, from the header's sky level; else from the noise itself.
    The header's word is preferred to the pixels' because resampled images have correlated
    noise, which looks smaller in single pixels than it is under a star.

    Parameters
    ----------
    image
        float (ny, nx), counts, sky not subtracted here.
    sky
        Its sky.
    header
        Header, for a sky level.
    gain
        Electrons per count.
    read_noise
        Electrons.
    scale
        Counts per pixel unit (the exposure time for rates).

    Returns
    -------
    variance
        float32 (ny, nx), in the square of the image's unit.
    """
    measured = (sky.noise * scale) ** 2
    floor = (read_noise / gain) ** 2
    level = sky.level * scale
    from_image = max(level, 0.0) / gain + floor
    card = next((float(header[k]) for k in _SKY_CARDS if _is_level(header.get(k))), None)
    if np.isfinite(measured) and from_image < 0.5 * measured:
        from_card = None if card is None else card * scale / gain + floor
        plausible = from_card is not None and 0.5 * measured < from_card < 4.0 * measured
        base = from_card if plausible and from_card is not None else max(measured, floor)
    else:
        base = from_image
    # A light smoothing keeps the noise itself out of its own variance.
    sources = ndimage.uniform_filter(
        np.nan_to_num((image - sky.background).astype(np.float64)), 3, mode="nearest"
    )
    variance = base + np.maximum(sources * scale, 0.0) / gain
    return np.asarray(variance / scale**2, dtype=np.float32)


def _is_level(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
    )
