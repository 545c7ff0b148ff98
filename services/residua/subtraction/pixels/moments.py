"""Second moments of a profile."""

import numpy as np
import numpy.typing as npt

__all__ = ["second_moments"]

_MOMENT_ITERATIONS = 30


def second_moments(stamp: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Covariance, pixels^2, of the elliptical Gaussian that matches a centred profile best.

    Adaptive moments (Bernstein & Jarvis 2002): a Gaussian under its own weight shows half its
    covariance.

    Parameters
    ----------
    stamp
        float64 (size, size), centred on the central pixel.

    Returns
    -------
    numpy.ndarray
        float64 (2, 2), in the order x, y.
    """
    offset = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    dx, dy = (a.ravel().astype(np.float64) for a in np.meshgrid(offset, offset))
    positions = np.stack([dx, dy])
    moments = 4.0 * np.eye(2)
    for _ in range(_MOMENT_ITERATIONS):
        distance = np.sum(positions * np.linalg.solve(moments, positions), axis=0)
        weight = np.exp(-0.5 * distance) * stamp.ravel()
        found = 2.0 * (positions * weight) @ positions.T / weight.sum()
        # A profile of noise has no moments: keep what there was.
        if not (np.linalg.eigvalsh(found)[0] > 0.0 and np.trace(found) < stamp.size):
            break
        settled = np.allclose(found, moments, rtol=1e-4)
        moments = found
        if settled:
            break
    return moments
