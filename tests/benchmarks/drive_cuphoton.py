"""Match and subtract with NVIDIA cuPhoton's CPU profile (xPois); run by its own interpreter.

    python drive_cuphoton.py DIRECTORY t|i

One kernel for the whole image, all that its solver offers, in the Gaussians that HOTPANTS gets
(half width 15); a background of first order; fitted on the compact sources that xPois itself
selects, as many stamps as HOTPANTS has, weighed with the variance of both images.
"""

import sys
from pathlib import Path

import numpy as np
from cuphoton.xpois import (
    GaussianBasisComponent,
    build_compact_source_stamp_mask,
    solve_constant_kernel,
)
from driver_files import read_inputs, write_difference

KERNEL_SIDE = 31
COMPONENTS = [
    GaussianBasisComponent(sigma, degree)
    for sigma, degree in ((0.7, 4), (1.5, 2), (3.0, 2), (6.0, 0))
]
STAMPS_PER_PIXEL = 400 / (4000 * 4072)


def drive(directory, convolve):
    """Subtract what lies in a directory; the difference is science minus template."""
    inputs = read_inputs(directory)
    good = ~(inputs.science_bad | inputs.template_bad)
    variance = np.where(good, inputs.science_variance + inputs.template_variance, 1.0)
    stamps = build_compact_source_stamp_mask(
        inputs.science,
        variance=variance,
        valid_mask=good,
        stamp_size=KERNEL_SIDE,
        max_stamps=max(20, round(STAMPS_PER_PIXEL * good.size)),
    )
    pair = (inputs.template, inputs.science)
    fit = solve_constant_kernel(
        *(pair if convolve == "t" else pair[::-1]),
        COMPONENTS,
        kernel_shape=(KERNEL_SIDE, KERNEL_SIDE),
        variance=variance,
        fit_mask=stamps.mask,
        background_degree=1,
        backend="cpu",
    )
    difference = fit.residual if convolve == "t" else -fit.residual
    write_difference(directory, inputs, difference, fit.kernel[None, None], convolve)
    print(f"{len(stamps.centers)} stamps, chi2 / dof {fit.chi2 / fit.dof:.3f}")


if __name__ == "__main__":
    drive(Path(sys.argv[1]), sys.argv[2])
