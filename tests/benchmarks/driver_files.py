"""Files between the benchmark and the drivers of Python peers; needs numpy, astropy and scipy.

It is read by the peers' interpreters, which have nothing of Residua.
"""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from scipy import ndimage

TEMPLATE_SATURATION = 60_000.0
"""Where the template saturates, as HOTPANTS is told."""
RINGING = 3
"""Pixels to which SWarp's Lanczos-3 spreads a saturated pixel."""


@dataclass(frozen=True)
class Inputs:
    """The pair on the science grid, float64; bad pixels are 0 in the images."""

    science: np.ndarray
    template: np.ndarray
    science_variance: np.ndarray
    template_variance: np.ndarray
    science_bad: np.ndarray
    template_bad: np.ndarray


def read_inputs(directory):
    """Read what the benchmark and SWarp wrote, in the machine's byte order."""

    def read(name):
        return fits.getdata(directory / f"{name}.fits").astype(np.float64)

    template = read("warped")
    science_bad = read("science_mask") != 0
    saturated = ndimage.maximum_filter(template > TEMPLATE_SATURATION, 2 * RINGING + 1)
    template_bad = (read("warped_mask") != 0) | saturated
    return Inputs(
        np.where(science_bad, 0.0, read("science")),
        np.where(template_bad, 0.0, template),
        read("science_noise") ** 2,
        read("warped_noise") ** 2,
        science_bad,
        template_bad,
    )


def write_difference(directory, inputs, difference, kernels, convolve):
    """Write a difference on the science image's flux scale, with the naive variance.

    The variance is that of independent pixels, ``VS + sum(K^2) VT`` (the convolved image's is
    multiplied): neither peer claims one. Where the science image was convolved, `difference` is
    on the template's scale and is divided by the kernel's sum. What the kernel spreads bad pixels
    to, and half a kernel at the edges, is not to be judged, as HOTPANTS has it.

    Parameters
    ----------
    directory, inputs, difference, convolve
        Where to, what was read, science minus template, ``t`` or ``i``.
    kernels
        float64 (n, n, side, side): the kernel on a grid from edge to edge, y first; n may be 1.
    """
    power = spread(np.sum(kernels**2, axis=(2, 3)), difference.shape)
    scale = spread(np.sum(kernels, axis=(2, 3)), difference.shape)
    print(
        f"kernel sum {scale.min():.4f} to {scale.max():.4f}, "
        f"sum of squares {power.min():.4f} to {power.max():.4f}"
    )
    bad = [inputs.science_bad, inputs.template_bad]
    variances = [inputs.science_variance, inputs.template_variance]
    index = ("i", "t").index(convolve)
    bad[index] = ndimage.maximum_filter(bad[index], kernels.shape[-1])
    variances[index] = power * variances[index]
    variance = variances[0] + variances[1]
    if convolve == "i":
        difference, variance = difference / scale, variance / scale**2
    mask = bad[0] | bad[1] | ~np.isfinite(difference)
    half = kernels.shape[-1] // 2
    inner = np.zeros(mask.shape, bool)
    inner[half:-half, half:-half] = True
    mask |= ~inner
    planes = {
        "difference": difference.astype(np.float32),
        "difference_noise": np.sqrt(variance).astype(np.float32),
        "difference_mask": mask.astype(np.int16),
    }
    for name, plane in planes.items():
        fits.writeto(directory / f"{name}.fits", plane, overwrite=True)


def spread(nodes, shape):
    """Interpolate values (n, n) on a grid from edge to edge to all pixels of an image."""
    if nodes.size == 1:
        return np.full(shape, nodes.item())
    at = [np.linspace(0, n - 1, m) for n, m in zip(nodes.shape, shape, strict=True)]
    return ndimage.map_coordinates(nodes, np.meshgrid(*at, indexing="ij"), order=1)
