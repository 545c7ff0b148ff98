"""Normal equations of the matching kernel on the stamps of single stars.

Within a stamp the kernel is constant, so a stamp contributes one small matrix; the spatial
variation is put together from these in `residua.subtraction.match.spatial_fit` without touching
pixels again (Alard 2000, section 3).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.threads import run_strips
from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.match.basis import KernelBasis
from residua.subtraction.match.kernel_stars import KernelStars
from residua.subtraction.match.stamp_convolution import stamp_convolution

__all__ = [
    "StampEquations",
    "StampNoise",
    "cut",
    "stamp_equations",
]

type Array = npt.NDArray[np.float64]

_STARS_PER_STRIP = 8
_SMOOTHING = 2


@dataclass(frozen=True)
class StampNoise:
    """What the weights of the fit are made of.

    Parameters
    ----------
    science_variance, template_variance
        float32 (ny, nx); finite and positive on usable pixels.
    science_factor, template_factor
        What the convolution and the photometric scale make of each variance.
    mask
        int32 (ny, nx), union of both images' masks.
    unusable
        Mask bits of pixels without weight.
    """

    science_variance: FloatPlane
    template_variance: FloatPlane
    science_factor: float
    template_factor: float
    mask: MaskPlane
    unusable: int

    def weights(self, x: int, y: int, half_width: int, border: int) -> Array:
        """Inverse variance in a stamp; 0 on unusable pixels and near the edge of the image.

        The variance is the mean of the usable pixels within 2 px: a pixel's own noise in its
        variance would bias the fit low.
        """
        reach = half_width + _SMOOTHING
        variance = self.science_factor * cut(self.science_variance, x, y, reach)
        variance += self.template_factor * cut(self.template_variance, x, y, reach)
        good = (cut(self.mask, x, y, reach).astype(np.int64) & self.unusable) == 0
        good &= variance > 0  # also drops NaN, and everything outside the plane
        smooth = _box_sums(np.where(good, variance, 0.0)) / np.maximum(_box_sums(good), 1.0)
        good = good[_SMOOTHING:-_SMOOTHING, _SMOOTHING:-_SMOOTHING]
        rows = np.arange(y - half_width, y + half_width + 1)
        columns = np.arange(x - half_width, x + half_width + 1)
        ny, nx = self.mask.shape
        good &= ((rows >= border) & (rows < ny - border))[:, None]
        good &= (columns >= border) & (columns < nx - border)
        return np.where(good, 1.0 / np.where(good, smooth, 1.0), 0.0)


def _box_sums(plane: npt.NDArray[Any]) -> Array:
    """Add up 5 x 5 px; the result is smaller by 2 px on each side."""
    side = 2 * _SMOOTHING + 1
    ny, nx = (n - side + 1 for n in plane.shape)
    rows = plane[:ny].astype(np.float64)
    for k in range(1, side):
        rows += plane[k : k + ny]
    sums = rows[:, :nx].copy()
    for k in range(1, side):
        sums += rows[:, k : k + nx]
    return sums


@dataclass(frozen=True)
class StampEquations:
    """Weighted least squares of ``target ~ sum_b a_b (basis_b x source) + background``, per star.

    Parameters
    ----------
    x, y
        float64 (n,), pixel positions of the stamps.
    matrices
        float64 (n, n_basis + 1, n_basis + 1); the last row and column belong to the constant
        background.
    vectors
        float64 (n, n_basis + 1).
    squares
        float64 (n,): weighted sum of the squared target.
    n_pixels
        float64 (n,): pixels with weight.
    """

    x: Array
    y: Array
    matrices: Array
    vectors: Array
    squares: Array
    n_pixels: Array

    def __len__(self) -> int:
        return len(self.x)

    def select(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "StampEquations":
        """Only some of the stars."""
        return StampEquations(
            self.x[keep],
            self.y[keep],
            self.matrices[keep],
            self.vectors[keep],
            self.squares[keep],
            self.n_pixels[keep],
        )

    def without_dominance(self, largest_share: float) -> "StampEquations":
        """Lower the weight of stars that would carry more than a share of the whole fit.

        The brightest of few stars may be saturated softly, or vary: then it must not set the
        scale of all others. A stamp's chi^2 stays what it is.

        Parameters
        ----------
        largest_share
            Of the summed squared S/N; nothing changes for fewer stars than its inverse plus one.
        """
        if len(self) <= 1.0 / largest_share:
            return self
        power = np.maximum(self.squares - self.n_pixels, 1.0)
        most = float(power.max())
        while most > largest_share * float(np.minimum(power, most).sum()) * (1.0 + 1e-6):
            most = largest_share * float(np.minimum(power, most).sum())
        return self.weighted(np.minimum(1.0, most / power))

    def weighted(self, weights: Array) -> "StampEquations":
        """With float64 (n,) weights on the stamps; their chi^2 stays what it is."""
        return StampEquations(
            self.x,
            self.y,
            self.matrices * weights[:, None, None],
            self.vectors * weights[:, None],
            self.squares * weights,
            self.n_pixels * weights,
        )

    def scaled(self, factors: Array) -> "StampEquations":
        """With targets times float64 (n,) factors; weights and errors as they were."""
        return StampEquations(
            self.x,
            self.y,
            self.matrices,
            self.vectors * factors[:, None],
            self.squares * factors**2,
            self.n_pixels,
        )

    def scales(self, solutions: Array) -> Array:
        """Flux of each stamp's star over that of its model, for solutions as in `chi2`."""
        background = solutions[:, -1:]
        kernel = solutions[:, :-1]
        model = np.einsum("nij,nj->ni", self.matrices[:, :-1, :-1], kernel)
        power = np.einsum("ni,ni->n", kernel, model)
        target = self.vectors[:, :-1] - self.matrices[:, :-1, -1] * background
        found = np.einsum("ni,ni->n", kernel, target)
        return np.asarray(found / np.where(power > 0.0, power, np.inf), dtype=np.float64)

    def chi2(self, solutions: Array) -> Array:
        """Reduced chi^2 of each stamp for float64 (n, n_basis + 1) kernel and background."""
        model = np.einsum("nij,nj->ni", self.matrices, solutions)
        chi2 = self.squares + np.einsum("ni,ni->n", solutions, model - 2.0 * self.vectors)
        return np.asarray(chi2 / np.maximum(self.n_pixels, 1.0), dtype=np.float64)


def stamp_equations(
    target: FloatPlane,
    source: FloatPlane,
    noise: StampNoise,
    stars: KernelStars,
    basis: KernelBasis,
    *,
    stamp_half_width: int,
    threads: int = 1,
) -> StampEquations:
    """Build the normal equations of all stamps.

    Parameters
    ----------
    target
        float32 (ny, nx), finite: the image the convolved one shall match.
    source
        float32 (ny, nx), finite: the image to convolve.
    noise
        Where the weights come from.
    stars
        Stamp centres.
    basis
        Kernel basis.
    stamp_half_width
        Pixels.
    threads
        Threads to use; the result does not depend on it.

    Returns
    -------
    StampEquations
        One entry per star, in the order of `stars`.
    """
    n, n_basis = len(stars), basis.n_basis
    side = 2 * stamp_half_width + 1
    reach = stamp_half_width + basis.half_width
    matrices = np.zeros((n, n_basis + 1, n_basis + 1))
    vectors = np.zeros((n, n_basis + 1))
    squares, n_pixels = np.zeros(n), np.zeros(n)
    convolution = stamp_convolution(basis, side)

    def build(first: int, end: int) -> None:
        design = np.ones((n_basis + 1, side * side))
        for k in range(first, end):
            x, y = int(stars.x[k]), int(stars.y[k])
            design[:n_basis] = convolution.convolve(cut(source, x, y, reach))
            w = noise.weights(x, y, stamp_half_width, basis.half_width).ravel()
            d = cut(target, x, y, stamp_half_width).ravel()
            root = np.sqrt(w)
            weighted, d = design * root, d * root
            # The product of a matrix with its own transpose costs half of a general one.
            matrices[k] = weighted @ weighted.T
            vectors[k] = weighted @ d
            squares[k] = np.sum(d * d)
            n_pixels[k] = np.count_nonzero(w)

    run_strips(build, n, strip_rows=_STARS_PER_STRIP, threads=threads)
    return StampEquations(
        stars.x.astype(np.float64),
        stars.y.astype(np.float64),
        matrices,
        vectors,
        squares,
        n_pixels,
    )


def cut(plane: FloatPlane | MaskPlane, x: int, y: int, half_width: int) -> Array:
    """Float64 square cut-out around a pixel, zeros outside the plane."""
    ny, nx = plane.shape
    out = np.zeros((2 * half_width + 1, 2 * half_width + 1))
    y0, y1 = max(y - half_width, 0), min(y + half_width + 1, ny)
    x0, x1 = max(x - half_width, 0), min(x + half_width + 1, nx)
    top, left = y0 - y + half_width, x0 - x + half_width
    out[top : top + y1 - y0, left : left + x1 - x0] = plane[y0:y1, x0:x1]
    return out
