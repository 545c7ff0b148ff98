"""Second moments of a profile."""

import numpy as np
import numpy.typing as npt

__all__ = ["second_moments"]

_MOMENT_ITERATIONS = 30
_REACH = 4.5


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
    centre = stamp.shape[0] // 2
    moments = 4.0 * np.eye(2)
    for _ in range(_MOMENT_ITERATIONS):
        # Beyond, weight and profile together are nothing.
        reach = min(int(np.ceil(_REACH * np.sqrt(np.linalg.eigvalsh(moments)[1]))), centre)
        dx = np.arange(-reach, reach + 1, dtype=np.float64)
        dy = dx[:, None]
        inverse = np.linalg.inv(moments)
        distance = inverse[0, 0] * dx * dx + 2.0 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy * dy
        part = slice(centre - reach, centre + reach + 1)
        weight = np.exp(-0.5 * distance) * stamp[part, part]
        rows, columns = weight.sum(axis=1), weight.sum(axis=0)
        xy = dx @ weight.T @ dx
        found = np.array([[columns @ (dx * dx), xy], [xy, rows @ (dx * dx)]])
        found *= 2.0 / rows.sum()
        # A profile of noise has no moments: keep what there was.
        if not (np.linalg.eigvalsh(found)[0] > 0.0 and np.trace(found) < stamp.size):
            break
        settled = np.abs(found - moments).max() <= 1e-4 * np.abs(found).max()
        moments = found
        if settled:
            break
    return moments
