"""What the atmosphere does to positions within one exposure: a smooth displacement."""

import numpy as np
import numpy.typing as npt

__all__ = ["displaced"]

type Array = npt.NDArray[np.float64]


def displaced(x: Array, y: Array, turbulence: tuple[float, float]) -> tuple[Array, Array]:
    """Positions after a displacement that no polynomial of low order follows.

    Parameters
    ----------
    x, y
        float64 (n,), pixels.
    turbulence
        Rms displacement along each axis and period, pixels.
    """
    rms, period = turbulence
    if not rms:
        return x, y
    phase_x, phase_y = 2.0 * np.pi * x / period, 2.0 * np.pi * y / period
    return (
        x + rms * (np.sin(phase_y + 0.5) + np.cos(phase_x + 1.0)),
        y + rms * (np.sin(phase_x + 2.0) - np.cos(phase_y - 0.7)),
    )
