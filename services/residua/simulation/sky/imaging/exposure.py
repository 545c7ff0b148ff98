"""Turn a noise-free plane into an exposure: noise, saturation, bleed trails, defects, masks."""

import numpy as np
import numpy.typing as npt

from residua.subtraction.masks import MaskBit

__all__ = ["add_defects", "expose"]

type Plane = npt.NDArray[np.float32]
type Mask = npt.NDArray[np.int32]

BLEED_PER_SQRT_EXCESS = 0.12
"""Half length of a bleed trail in px per square root of the saturated excess in nJy."""

LEAST_VARIANCE = 0.02
"""Over that of the sky: what a pixel of no counts still has, from the reading out."""


def expose(
    model: Plane,
    rng: np.random.Generator,
    *,
    sky_noise: float,
    electrons: float,
    saturation: float,
    noisy_variance: bool = True,
) -> tuple[Plane, Plane, Mask]:
    """Return image, variance and mask of a noise-free plane.

    Parameters
    ----------
    model
        float32 (ny, nx): expected flux, sky subtracted, nJy.
    rng
        Source of randomness.
    sky_noise
        Standard deviation of the sky, nJy.
    electrons
        Electrons per nJy: Poisson noise of the sources (as Gaussian noise of that variance).
    saturation
        Full well, nJy; charge above it bleeds along the column.
    noisy_variance
        Make the variance plane as a camera's pipeline does, from the pixels' own counts (the
        sky's noise taken as that of its photons); otherwise it is the exact variance of the
        noise that was added.
    """
    mask = np.zeros(model.shape, np.int32)
    saturated = _bleed(model, saturation)
    clipped = model.copy()
    clipped[saturated] = saturation
    variance = clipped.clip(min=0)
    variance /= electrons
    variance += sky_noise**2
    image: Plane = rng.standard_normal(model.shape, dtype=np.float32)
    image *= np.sqrt(variance)
    image += clipped
    if noisy_variance:
        variance = image / np.float32(electrons)
        variance += np.float32(sky_noise**2)
        np.maximum(variance, np.float32(LEAST_VARIANCE * sky_noise**2), out=variance)
    over = saturated | (image >= saturation)
    np.minimum(image, np.float32(saturation), out=image)
    mask[over] |= MaskBit.SATURATED
    # Left over from earlier processing; a difference must not inherit it.
    mask[model > 5.0 * sky_noise] |= MaskBit.DETECTED
    return image, variance, mask


def _bleed(model: Plane, saturation: float) -> npt.NDArray[np.bool_]:
    """Saturated pixels and the trails along columns into which their charge runs."""
    saturated = model > saturation
    trails = saturated.copy()
    for x in np.flatnonzero(saturated.any(axis=0)):
        rows = np.flatnonzero(saturated[:, x])
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            excess = float(np.sum(model[run, x] - saturation, dtype=np.float64))
            reach = int(BLEED_PER_SQRT_EXCESS * np.sqrt(excess))
            trails[max(0, run[0] - reach) : run[-1] + reach + 1, x] = True
    return trails


def add_defects(
    image: Plane,
    mask: Mask,
    rng: np.random.Generator,
    *,
    cosmic_rays: float,
    bad_columns: float,
    sky_noise: float,
) -> None:
    """Put cosmic rays and bad columns into an exposure and its mask, in place.

    Parameters
    ----------
    image, mask
        Planes of the exposure.
    rng
        Source of randomness.
    cosmic_rays, bad_columns
        Mean numbers; masked ``COSMIC_RAY`` and ``BAD``.
    sky_noise
        Sets the amplitude of the garbage.
    """
    ny, nx = image.shape
    for _ in range(rng.poisson(cosmic_rays)):
        length, angle = rng.exponential(12.0) + 1.0, rng.uniform(0.0, np.pi)
        along = np.arange(0.0, length, 0.5)
        x = np.rint(rng.uniform(0, nx) + along * np.cos(angle)).astype(int)
        y = np.rint(rng.uniform(0, ny) + along * np.sin(angle)).astype(int)
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        pixels = np.unique(np.stack([y[inside], x[inside]]), axis=1)
        ragged = rng.uniform(0.5, 1.5, len(pixels[0])).astype(np.float32)
        image[pixels[0], pixels[1]] += np.float32(sky_noise * rng.lognormal(4.0, 1.0)) * ragged
        mask[pixels[0], pixels[1]] |= MaskBit.COSMIC_RAY
    for _ in range(rng.poisson(bad_columns)):
        column, start = rng.integers(nx), rng.integers(ny)
        stop = ny if rng.random() < 0.5 else int(rng.integers(start, ny)) + 1
        garbage = rng.normal(0.0, 50.0 * sky_noise, stop - start)
        image[start:stop, column] = garbage.astype(np.float32)
        mask[start:stop, column] |= MaskBit.BAD
