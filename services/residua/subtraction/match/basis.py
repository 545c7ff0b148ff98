"""Gauss-Hermite basis of the matching kernel (Alard & Lupton 1998; Alard 2000).

Each basis function is a sum of products of one-dimensional functions. Keeping the 1-D
functions makes the convolution separable and exact, however the kernel varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["KernelBasis", "gauss_hermite_basis"]

_SUPPORT_SIGMAS = 5.4
"""1-D functions are cut here: part of their definition, so the convolution stays exact."""


@dataclass(frozen=True)
class KernelBasis:
    """Basis functions as sums of products of common one-dimensional functions.

    ``basis_b[y, x] = sum_ij products[b, i, j] functions[i, y] functions[j, x]``

    Parameters
    ----------
    functions
        float64 (n_functions, size); ``size`` odd, origin on the central element.
    products
        float64 (n_basis, n_functions, n_functions).
    """

    functions: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]

    @property
    def n_basis(self) -> int:
        """Number of basis functions."""
        return int(self.products.shape[0])

    @property
    def size(self) -> int:
        """Side of the kernel, pixels."""
        return int(self.functions.shape[1])

    @property
    def half_width(self) -> int:
        """Half width of the kernel, pixels: ``size = 2 half_width + 1``."""
        return self.size // 2

    def images(self) -> npt.NDArray[np.float64]:
        """Float64 (n_basis, size, size): the basis functions as pixels."""
        out = np.zeros((self.n_basis, self.size, self.size))
        # Product by product, in order: the same bits on every machine.
        for b, i, j in np.argwhere(self.products != 0.0):
            out[b] += self.products[b, i, j] * np.multiply.outer(
                self.functions[i], self.functions[j]
            )
        return out


def gauss_hermite_basis(
    half_width: int, sigmas: Sequence[float], degrees: Sequence[int]
) -> KernelBasis:
    """Gaussians times Hermite polynomials; only the first basis function carries flux.

    For every ``sigma`` and ``i + j <= degree`` the product of ``He_i(y/sigma) g(y)`` and
    ``He_j(x/sigma) g(x)`` (derivatives of a Gaussian). From every function but the first a
    multiple of the first is taken away so that its sum is zero (Alard 2000, section 2):
    the sum of the kernel is then the coefficient of the first function.

    Parameters
    ----------
    half_width
        Half width of the kernel, pixels.
    sigmas
        Gaussian widths, pixels, narrowest first.
    degrees
        Highest total degree for each width.

    Returns
    -------
    KernelBasis
        First function with sum 1, the others with sum 0 and an absolute sum of order 1.

    Raises
    ------
    ValueError
        If ``sigmas`` is empty or differs in length from ``degrees``.
    """
    if not sigmas or len(sigmas) != len(degrees):
        raise ValueError(
            f"a kernel basis needs one degree for each sigma, not {len(degrees)} for {len(sigmas)}"
        )
    x = np.arange(-half_width, half_width + 1, dtype=np.float64)
    functions: list[npt.NDArray[np.float64]] = []
    pairs: list[tuple[int, int]] = []
    for sigma, degree in zip(sigmas, degrees, strict=True):
        first = len(functions)
        gauss = np.where(np.abs(x) <= _SUPPORT_SIGMAS * sigma, np.exp(-0.5 * (x / sigma) ** 2), 0.0)
        for i in range(degree + 1):
            hermite = np.polynomial.hermite_e.hermeval(x / sigma, [0.0] * i + [1.0])
            function = hermite * gauss
            functions.append(function / np.sum(np.abs(function)))
        pairs += [(first + i, first + n - i) for n in range(degree + 1) for i in range(n + 1)]
    stacked = np.array(functions)
    sums = stacked.sum(axis=1)
    products = np.zeros((len(pairs), len(functions), len(functions)))
    for b, (i, j) in enumerate(pairs):
        products[b, i, j] = 1.0
        if b > 0:
            products[b, 0, 0] -= sums[i] * sums[j]
    return KernelBasis(stacked, products)
