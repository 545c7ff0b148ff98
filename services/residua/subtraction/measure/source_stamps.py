"""Stamps around sources: pixels of the planes, and the PSF at sub-pixel positions."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy.fft import irfft2, next_fast_len, rfft2

from residua.subtraction.images import PsfModel

__all__ = ["PsfStamps", "cut_planes", "psf_stamps"]

type Array = npt.NDArray[np.float64]
type Pixels = npt.NDArray[np.int64]

_MARGIN = 3


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _cut[Pixel: (np.float32, np.int32, np.bool_)](
    plane: npt.NDArray[Pixel], x: Pixels, y: Pixels, half: int, out: npt.NDArray[Pixel]
) -> None:
    ny, nx = plane.shape
    for k in range(len(x)):
        first, last = max(x[k] - half, 0), min(x[k] + half + 1, nx)
        for row in range(max(y[k] - half, 0), min(y[k] + half + 1, ny)):
            for column in range(first, last):
                out[k, row - y[k] + half, column - x[k] + half] = plane[row, column]


def cut_planes[Pixel: (np.float32, np.int32, np.bool_)](
    plane: npt.NDArray[Pixel], x: Pixels, y: Pixels, half: int
) -> npt.NDArray[Pixel]:
    """Cut-outs (n, 2 half + 1, 2 half + 1) around pixels; zeros outside the plane."""
    out = np.zeros((len(x), 2 * half + 1, 2 * half + 1), plane.dtype)
    _cut(plane, x, y, half, out)
    return out


@dataclass(frozen=True)
class PsfStamps:
    """The PSF at a number of places, ready to be shifted by parts of a pixel.

    Parameters
    ----------
    transform
        complex128 (n, size, size // 2 + 1): Fourier transforms, centre at index 0.
    half
        Half width of the stamps that `at` gives, pixels.
    """

    transform: npt.NDArray[np.complex128]
    half: int

    def _frequencies(self) -> tuple[Array, Array]:
        n = self.transform.shape[1]
        return np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)

    def _shifted(self, dx: Array, dy: Array) -> npt.NDArray[np.complex128]:
        """Move the stars, and the place of index 0 to the stamps' centre."""
        fy, fx = self._frequencies()
        along_x = np.exp(-2j * np.pi * fx * (dx[:, None, None] + self.half))
        along_y = np.exp(-2j * np.pi * fy * (dy[:, None, None] + self.half))
        return np.asarray(self.transform * along_y * along_x)

    def _stamps(self, transform: npt.NDArray[np.complex128]) -> Array:
        n = self.transform.shape[1]
        size = 2 * self.half + 1
        return np.ascontiguousarray(irfft2(transform, (n, n))[:, :size, :size])

    def at(self, dx: Array, dy: Array) -> Array:
        """Float64 (n, size, size): unit stars at (dx, dy) from the central pixel."""
        return self._stamps(self._shifted(dx, dy))

    def gradients(self, dx: Array, dy: Array) -> tuple[Array, Array, Array]:
        """Return `at`, and its derivatives by dx and dy."""
        fy, fx = self._frequencies()
        here = self._shifted(dx, dy)
        return (
            self._stamps(here),
            self._stamps(here * (-2j * np.pi * fx)),
            self._stamps(here * (-2j * np.pi * fy)),
        )

    def select(self, keep: npt.NDArray[np.bool_] | Pixels) -> "PsfStamps":
        """Only some of the places."""
        return PsfStamps(self.transform[keep], self.half)


def psf_stamps(psf: PsfModel, x: npt.ArrayLike, y: npt.ArrayLike, half: int) -> PsfStamps:
    """Evaluate a PSF at places of its image.

    Parameters
    ----------
    psf
        The model.
    x, y
        float64 (n,), pixels.
    half
        Half width of the stamps wanted, pixels.
    """
    terms = psf.polynomial.terms(x, y)
    size = psf.size
    flat = psf.coefficients.reshape(len(psf.coefficients), -1)
    stamps = (terms @ flat).reshape(-1, size, size)
    stamps /= stamps.sum(axis=(1, 2), keepdims=True)
    reach = min(half + _MARGIN, size // 2)
    inner = slice(size // 2 - reach, size // 2 + reach + 1)
    # What wraps round must fall outside the stamps that are asked for.
    n = next_fast_len(max(2 * (half + _MARGIN) + 1, 2 * reach + 1 + _MARGIN), real=True)
    n += n % 2
    plane = np.zeros((len(stamps), n, n))
    plane[:, : 2 * reach + 1, : 2 * reach + 1] = stamps[:, inner, inner]
    return PsfStamps(rfft2(np.roll(plane, (-reach, -reach), axis=(1, 2))), half)
