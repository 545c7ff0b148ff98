"""Sky of a plain image: a smooth background, and how much noise the sky contributes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header
from scipy import ndimage

__all__ = ["SkyModel", "count_variance", "estimate_sky"]

_SKY_CARDS = ("AVSKY", "SKYBRITE", "SKYLEVEL", "SKYADU", "SKYMED", "BACKGND", "SKYVAL", "SKY")
_MOST_GAIN = 20.0
"""Electrons per count that no camera has."""

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
    check: Callable[[float], float] | None = None,
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Variance of an image in counts: read noise, Poisson noise of sources and of the sky.

    The sky's share comes from the sky still in the image when that explains its noise; else,
    the sky having been subtracted, from the header's sky level; else from the noise itself.
    The header's word is preferred to the pixels' because resampled images have correlated
    noise, which looks smaller in single pixels than it is under a star. Where cards predict
    more than twice the variance that is there, they belong to other pixels (one frame of an
    average, counts before they were scaled): then the sky and its noise tell the gain.

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
    check
        Returns measured over predicted variance for a variance of the sky, as far as slopes
        and correlated noise leave that open; see `residua.storage.conventions.noise`.

    Returns
    -------
    variance
        float32 (ny, nx), in the square of the image's unit.
    notes
        What was not believed.
    """
    measured = (sky.noise * scale) ** 2
    floor = (read_noise / gain) ** 2
    level = sky.level * scale
    base = max(level, 0.0) / gain + floor
    notes: list[str] = []
    ratio = 1.0 if check is None or base <= 0.0 else check(base / scale**2)
    if np.isfinite(measured) and base < 0.5 * measured:
        card = next((v for k in _SKY_CARDS if (v := _level(header.get(k))) is not None), None)
        from_card = None if card is None else card * scale / gain + floor
        plausible = from_card is not None and 0.5 * measured < from_card < 4.0 * measured
        if gain > _MOST_GAIN and level > 5.0 * np.sqrt(measured):
            notes.append(
                f"a gain of {gain:g} electrons per count does not fit the noise of the sky "
                f"({np.sqrt(measured):.4g}): taken for a setting of the camera; "
                f"{level / measured:.3g} fits (--gain)"
            )
            gain = level / measured
        base = from_card if plausible and from_card is not None else max(measured, floor)
    elif ratio < 0.5:
        fits_sky = level > 3.0 * np.sqrt(measured)
        notes.append(
            f"gain {gain:g} and read noise {read_noise:g} predict a noise of "
            f"{np.sqrt(base) / scale:.4g} where {np.sqrt(base * ratio) / scale:.4g} is measured: "
            "an average of several frames, or cards of other pixels; the measured noise is taken"
            + ("" if fits_sky else ", that of bright sources is not known (--gain)")
        )
        base *= ratio
        gain = level / base if fits_sky else np.inf
    # A light smoothing keeps the noise itself out of its own variance.
    sources = np.nan_to_num(image - sky.background, posinf=0.0, neginf=0.0)
    sources = _mean_of_neighbours(sources.astype(np.float64))
    variance = base + np.maximum(sources * scale, 0.0) / gain
    return np.asarray(variance / scale**2, dtype=np.float32), tuple(notes)


def _mean_of_neighbours(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of 3 x 3 px, the border continued.

    Summed pixel by pixel: a running sum carries each pixel's rounding along the whole line, and
    a part of an image would not have the bits of the whole.
    """
    for axis in (0, 1):
        padded = np.pad(plane, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        before, middle, after = (
            padded[k : k + plane.shape[0]] if axis == 0 else padded[:, k : k + plane.shape[1]]
            for k in range(3)
        )
        plane = before + middle + after
    return plane / 9.0


def _level(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < float("inf") else None  # type: ignore[operator, arg-type]
