"""The kernel fit's own noise at detections (docs/concepts/noise.md, around bright stars).

The matching kernel is fitted to noisy stars, so a bright source leaves a residual of random
sign that the pixels' variance does not know. It belongs into the significance of detections
only: put into the variance plane it would spoil the statistics of the sky.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.match.stamp_equations import cut

__all__ = ["fit_variance"]

type Array = npt.NDArray[np.float64]

_BATCH = 256


def fit_variance(
    fit: KernelFit,
    convolved_image: FloatPlane,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
) -> Array:
    """Variance ``c^T C c`` that the fit's noise gives the difference at single pixels.

    ``c`` are the basis functions convolved with the image, and 1 for the background; ``C`` the
    covariance of the fit's coefficients there.

    Parameters
    ----------
    fit
        The kernel fit.
    convolved_image
        float32 (ny, nx), finite: the image that the kernel convolves.
    x, y
        int64 (n,), pixels.

    Returns
    -------
    numpy.ndarray
        float64 (n,), squared unit of the *difference* (science image's scale); zeros for a
        kernel that was not fitted to stars.
    """
    if fit.labels is not None:
        numbers, out = fit.labels[y, x], np.empty(len(x))
        for number, part in enumerate((replace(fit, pieces=(), labels=None), *fit.pieces)):
            own = numbers == number
            out[own] = fit_variance(part, convolved_image, x[own], y[own])
        return out
    if fit.solution is None:
        return np.zeros(len(x))
    basis = fit.basis
    flipped = basis.functions[:, ::-1]
    out = np.empty(len(x))
    for first in range(0, len(x), _BATCH):
        xs, ys = x[first : first + _BATCH], y[first : first + _BATCH]
        stamps = np.stack(
            [
                cut(convolved_image, int(a), int(b), basis.half_width)
                for a, b in zip(xs, ys, strict=True)
            ]
        )
        # g[n, i, j] = sum_yx f_i(-y) f_j(-x) image: every product of 1-D functions at once.
        g = flipped @ (stamps @ flipped.T)
        design = g.reshape(len(xs), -1) @ basis.products.reshape(basis.n_basis, -1).T
        out[first : first + _BATCH] = fit.solution.variance(
            xs.astype(np.float64), ys.astype(np.float64), design
        )
    if fit.convolved == "science":
        # The difference is divided by the kernel's sum to be in the science image's scale.
        sums = fit.kernel.polynomial.terms(x, y) @ (
            fit.kernel.coefficients.T @ fit.kernel.basis.sum(axis=(1, 2))
        )
        out /= sums**2
    return out
