"""The noise of the difference's sky against what the variance says, whatever the image holds.

Medians over a sample of the pixels: sources, residuals and even a variance that is wrong by a
large factor leave them meaningful, so that they can be judged before anything is detected.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane

__all__ = ["SkyNoise", "sky_noise"]

type BoolPlane = npt.NDArray[np.bool_]
type Values = npt.NDArray[np.floating]

_SAMPLE = 300_000
_MAD = 1.4826
_MAD_ERROR = 1.2
_FAINT = 1.5
_BLOCKS = 12
_LEAST_INDEPENDENT = 20
"""Areas of a PSF below which a single source is most of what the matched filter sees."""


@dataclass(frozen=True)
class SkyNoise:
    """Robust noise of the sky; NaN without enough pixels.

    Parameters
    ----------
    pixels
        Sky pixels of the whole image, estimated from the sample.
    noise_ratio, noise_ratio_error
        Standard deviation of difference / sigma: 1 where the variance is right.
    structure, structure_error
        Standard deviation of the matched filter's S/N over ``noise_ratio``: 1 for white noise,
        more for correlated noise and for structure of the background.
    background
        rms of the difference's medians in 12 x 12 blocks beyond what noise explains, in units
        of the noise of a pixel.
    """

    pixels: int
    noise_ratio: float
    noise_ratio_error: float
    structure: float
    structure_error: float
    background: float


def sky_noise(
    image: FloatPlane,
    variance: FloatPlane,
    signal_to_noise: FloatPlane,
    matched_template: FloatPlane,
    good: BoolPlane,
    *,
    sigma: float,
    effective_area: float,
) -> SkyNoise:
    """Measure the noise where the matched template shows no source.

    Parameters
    ----------
    image, variance
        float32 (ny, nx): decorrelated difference.
    signal_to_noise
        float32 (ny, nx) of the matched filter.
    matched_template
        float32 (ny, nx), in the scale of the difference.
    good
        bool (ny, nx).
    sigma
        Noise of the difference's sky as the variance has it, unit of the image.
    effective_area
        Of the difference's PSF, pixels: over so many the matched filter correlates.
    """
    stride = max(1, int(np.sqrt(image.size / _SAMPLE)))
    every = slice(stride // 2, None, stride)
    usable = good[every, every]
    model, sn = matched_template[every, every], signal_to_noise[every, every]
    with np.errstate(invalid="ignore", divide="ignore"):
        z = image[every, every] / np.sqrt(variance[every, every])
        # Where the variance is far too small, the template's noise is "bright": its own counts.
        faint = _FAINT * max(sigma, _spread(model[usable]))
        sky = usable & (np.abs(model) < faint) & np.isfinite(sn) & np.isfinite(z)
    n = int(np.count_nonzero(sky))
    if n < 100:
        nan = float("nan")
        return SkyNoise(n * stride**2, nan, nan, nan, nan, nan)
    ratio = _spread(z[sky])
    independent = max(n / max(1.0, effective_area / stride**2), 1.0)
    return SkyNoise(
        pixels=n * stride**2,
        noise_ratio=ratio,
        noise_ratio_error=_MAD_ERROR * ratio / np.sqrt(n),
        structure=(
            _spread(sn[sky]) / ratio
            if ratio > 0 and independent >= _LEAST_INDEPENDENT
            else float("nan")
        ),
        structure_error=_MAD_ERROR / float(np.sqrt(independent)),
        background=_block_rms(z, sky, ratio),
    )


def _spread(values: Values) -> float:
    if values.size == 0:
        return float("nan")
    return _MAD * float(np.median(np.abs(values - np.median(values))))


def _block_rms(z: Values, sky: BoolPlane, ratio: float) -> float:
    """Root of the variance of block medians less that of their noise."""
    excess = []
    for rows in np.array_split(np.arange(z.shape[0]), _BLOCKS):
        for columns in np.array_split(np.arange(z.shape[1]), _BLOCKS):
            if not (rows.size and columns.size):
                continue
            part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            values = z[part][sky[part]]
            if values.size >= 30:
                noise = 1.57 * ratio**2 / values.size
                excess.append(float(np.median(values)) ** 2 - noise)
    return float(np.sqrt(max(float(np.mean(excess)), 0.0))) if excess else float("nan")
