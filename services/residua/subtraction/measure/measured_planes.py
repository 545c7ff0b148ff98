"""What is measured, and on what: peaks, and the planes around them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane, PsfModel
from residua.subtraction.measure.source_stamps import cut_planes

__all__ = ["MeasuredPlanes", "SourcePeaks"]

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SourcePeaks:
    """The accepted peaks.

    Parameters
    ----------
    x, y
        int64 (n,), pixels.
    dx, dy
        float64 (n,): first guess of the position from there, pixels.
    sign
        float64 (n,): 1 or -1.
    variance_factor
        float64 (n,): what the noise of the kernel fit and of bright sources makes of the
        variance of a flux.
    """

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    dx: Array
    dy: Array
    sign: Array
    variance_factor: Array

    def __len__(self) -> int:
        return len(self.x)

    def select(self, part: slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "SourcePeaks":
        """Only some of them."""
        return SourcePeaks(
            self.x[part], self.y[part], self.dx[part], self.dy[part], self.sign[part],
            self.variance_factor[part],
        )  # fmt: skip


@dataclass(frozen=True)
class MeasuredPlanes:
    """What is measured on, all (ny, nx).

    Parameters
    ----------
    image, variance, psf
        The decorrelated difference.
    signal_to_noise
        Of its matched filter.
    good
        Pixels without any unusable plane.
    mask
        Planes of the difference.
    science, science_variance, science_psf
        The visit image.
    template, template_psf
        The matched template, in the scale of the difference.
    """

    image: FloatPlane
    variance: FloatPlane
    psf: PsfModel
    signal_to_noise: FloatPlane
    good: npt.NDArray[np.bool_]
    mask: MaskPlane
    science: FloatPlane
    science_variance: FloatPlane
    science_psf: PsfModel
    template: FloatPlane
    template_psf: PsfModel

    def stamps(
        self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], half: int
    ) -> tuple[FloatPlane, FloatPlane, npt.NDArray[np.bool_]]:
        """Return stamps of image, variance and good pixels."""
        return (
            cut_planes(self.image, x, y, half),
            cut_planes(self.variance, x, y, half),
            cut_planes(self.good, x, y, half),
        )
