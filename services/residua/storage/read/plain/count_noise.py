"""Noise of an image in counts: of the read-out, of its sources, and of its sky."""

from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from residua.storage.read.plain.sky_level import SkyModel

__all__ = ["count_variance"]

_SKY_CARDS = ("AVSKY", "SKYBRITE", "SKYLEVEL", "SKYADU", "SKYMED", "BACKGND", "SKYVAL", "SKY")
_MOST_GAIN = 20.0
"""Electrons per count that no camera has."""


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
        elif gain > _MOST_GAIN:
            notes.append(
                f"a gain of {gain:g} electrons per count may be that of a stack or a setting of "
                "the camera: without the sky no pixel tells, and bright sources have little noise "
                "by it (--gain)"
            )
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
    variance = np.empty(image.shape, np.float32)
    _add_sources(
        np.asarray(image), sky.background, float(base), scale / float(gain), scale**2, variance
    )
    return variance, tuple(notes)


@numba.njit(nogil=True, cache=True)
def _add_sources(
    image: npt.NDArray[np.floating],
    background: npt.NDArray[np.float32],
    base: float,
    per_unit: float,
    square: float,
    out: npt.NDArray[np.float32],
) -> None:
    # A light smoothing, the mean of 3 x 3 pixels (those of the border repeated), keeps the noise
    # itself out of its own variance. Summed pixel by pixel: a part has the bits of the whole.
    ny, nx = image.shape
    rows = np.zeros((3, nx + 2))
    for j in range(-1, ny + 1):
        row = rows[(j + 3) % 3]
        k = min(max(j, 0), ny - 1)
        for i in range(nx):
            value = float(image[k, i]) - float(background[k, i])
            row[i + 1] = value if np.isfinite(value) else 0.0
        row[0], row[nx + 1] = row[1], row[nx]
        if j < 1:
            continue
        above, here, below = rows[(j + 1) % 3], rows[(j + 2) % 3], row
        for i in range(nx):
            total = (
                (above[i] + above[i + 1] + above[i + 2])
                + (here[i] + here[i + 1] + here[i + 2])
                + (below[i] + below[i + 1] + below[i + 2])
            )
            out[j - 1, i] = (base + max(total / 9.0, 0.0) * per_unit) / square


def _level(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 < value < float("inf") else None  # type: ignore[operator, arg-type]
