"""Draw the figures of the concept pages: ``python -m docs.tools.figures``."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt

import residua
from residua.simulation.independent_filter import filter_image
from residua.simulation.sky import scene, simulate_pair
from residua.simulation.trial import UNLIMITED
from residua.subtraction.align.lanczos import power_spectrum
from residua.subtraction.noise import decorrelation_nodes as nodes

IMAGES = Path(__file__).parents[1] / "images"
LAGS = range(7)
type Array = npt.NDArray[np.float64]


def correlation(z: npt.NDArray[np.float64]) -> list[float]:
    """Correlation of pixels ``lag`` columns apart, where both are sky."""
    power = np.nanmean(z * z)
    return [float(np.nanmean(z[:, lag:] * z[:, : z.shape[1] - lag]) / power) for lag in LAGS]


def unfiltered(
    stamps: Array, noise: Array, _v1: Array, _v2: Array, n: int, half: int, _convolved: str
) -> tuple[Array, Array, Array]:
    """Return the filters of a difference that is left as it is: psi is one pixel."""
    psi = np.zeros((len(stamps), 2 * half + 1, 2 * half + 1))
    psi[:, half, half] = 1.0
    response = np.fft.rfft2(nodes._centred(stamps, n)) * np.sqrt(power_spectrum(noise, n))
    return psi, psi.copy(), nodes._square(response)


def main() -> None:
    """Subtract one simulated pair with and without whitening, and draw what the sky shows."""
    config = replace(scene("shallow"), shape=(1400, 1400), patches=(1, 1), transients=0)
    pair = simulate_pair(config, seed=7)
    white = residua.subtract(pair.science, pair.templates, UNLIMITED)
    with mock.patch.object(nodes, "_filters", unfiltered):
        raw = residua.subtract(pair.science, pair.templates, UNLIMITED)
    sky = (raw.mask == 0) & (white.mask == 0)

    mpl.rcParams.update({"svg.hashsalt": "residua", "font.size": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained")
    bins = np.linspace(-6, 6, 61)
    for image, name, colour in ((raw, "raw", "#c44e52"), (white, "whitened", "#4c72b0")):
        z = np.where(sky, image.image / np.sqrt(image.variance), np.nan)
        left.plot(LAGS, correlation(z), "o-", color=colour, label=name)
        s = filter_image(image.image, image.variance, sky, image.psf).signal_to_noise[sky]
        s = s[np.isfinite(s)]
        right.hist(s, bins, histtype="step", color=colour, label=f"{name}: {s.std():.2f}")
        print(f"{name}: correlation {correlation(z)[1]:.3f}, S/N {s.std():.3f}")  # noqa: T201
    left.set(xlabel="distance of the pixels", ylabel="correlation")
    right.set(xlabel="S/N of the matched filter, empty sky", yscale="log", ylabel="pixels")
    for axes in (left, right):
        axes.legend(frameon=False, loc="upper right")
    figure.savefig(IMAGES / "noise.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
