"""One matching kernel for each piece of a template, where that predicts the stars better."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientKernelStarsError, NumericalError
from residua.subtraction.match.basis import KernelBasis
from residua.subtraction.match.kernel import KernelFit, fit_equations
from residua.subtraction.match.kernel_shape import KernelGroups, stamp_half_width
from residua.subtraction.match.spatial_fit import solve
from residua.subtraction.match.stamp_equations import StampEquations
from residua.subtraction.pieces.labels import PieceMap

__all__ = ["kernel_stamps", "with_pieces", "worth_a_look"]

type Array = npt.NDArray[np.float64]

_LEAST_STARS = 5
_WORTH = 0.012
"""Part of the stars' image left by one kernel below which pieces are not looked for: 0.004 on
fields without seams, 0.02 where the width jumps by a tenth."""
_GAIN = 0.8
_BRIGHT_SN2 = 50.0**2
_LEAST_BRIGHT = 6
_OF_ONE_PIECE = 0.95
_SAMPLES = 9
_LARGE = 0.01
"""Part of the image that a piece without a kernel of its own must have to be told."""
_OUTLIER_CHI2 = 5.0


def worth_a_look(fit: KernelFit, equations: StampEquations) -> bool:
    """Whether one kernel leaves so much of the bright stars that seams may be the reason."""
    return fit.solution is not None and _residual(equations, _chi2_of(fit, equations)) > _WORTH


def with_pieces(
    fit: KernelFit,
    equations: StampEquations,
    basis: KernelBasis,
    groups: KernelGroups,
    config: SubtractionConfig,
    pieces: PieceMap,
) -> KernelFit:
    """Fit one kernel for each piece with stars enough; keep them if they predict the stars better.

    Stamps across a seam belong to no piece. Each piece's stamps are predicted by fits without
    them; the pieces are taken where what is left of the bright stars falls by a fifth.

    Parameters
    ----------
    fit
        One kernel for the whole, fitted to stamps of the template.
    equations, basis, groups
        Its stamps, and its fullest basis.
    config
        Choices.
    pieces
        Where they lie.

    Returns
    -------
    KernelFit
        With ``pieces`` and ``labels``, or as it came.
    """
    numbers = _pieces_of(equations, pieces, fit.half_width)
    one = _chi2_of(fit, equations)
    held_out = one.copy()
    fits: dict[int, KernelFit] = {}
    for number in range(1, pieces.count + 1):
        own = numbers == number
        if np.count_nonzero(own) < _LEAST_STARS:
            continue
        part = equations.select(own)
        try:
            found = fit_equations(
                part, basis, groups, pieces.shape, config,
                convolved=fit.convolved, half_width=fit.half_width,
            )  # fmt: skip
        except (InsufficientKernelStarsError, NumericalError):
            continue
        assert found.solution is not None
        held_out[own] = _held_out(part, found)
        fits[number] = found
    fitted = np.isin(numbers, list(fits))
    told = equations.select(fitted)
    if not _residual(told, held_out[fitted]) < _GAIN * _residual(told, one[fitted]):
        return fit
    plane = pieces.plane()
    renumbered = np.zeros(pieces.count + 1, np.uint8)
    renumbered[list(fits)] = np.arange(1, len(fits) + 1)
    found_fits = tuple(fits.values())
    chi2 = np.median(np.concatenate([np.repeat(f.chi2, f.stars) for f in found_fits]))
    return replace(
        fit,
        pieces=found_fits,
        labels=renumbered[plane],
        without_kernel=sum(
            bool(np.count_nonzero(plane == n) > _LARGE * plane.size)
            for n in range(1, pieces.count + 1)
            if n not in fits
        ),
        stars=sum(f.stars for f in found_fits),
        rejected=sum(f.rejected for f in found_fits),
        chi2=float(chi2),
    )


def kernel_stamps(fit: KernelFit, x: Array, y: Array) -> Array:
    """Kernel at positions, that of their piece: float64 (n, size, size)."""
    numbers = np.zeros(len(x), np.int64)
    if fit.labels is not None:
        ny, nx = fit.labels.shape
        rows, columns = (
            np.clip(np.rint(v).astype(np.int64), 0, n - 1) for v, n in ((y, ny), (x, nx))
        )
        numbers[:] = fit.labels[rows, columns]
    size = fit.kernel.basis.shape[-1]
    out = np.empty((len(x), size, size))
    for number, part in enumerate((fit, *fit.pieces)):
        own = numbers == number
        weights = part.kernel.polynomial.terms(x[own], y[own]) @ part.kernel.coefficients.T
        out[own] = np.tensordot(weights, part.kernel.basis, axes=(1, 0))
    return out


def _pieces_of(
    equations: StampEquations, pieces: PieceMap, half_width: int
) -> npt.NDArray[np.int64]:
    """Piece of each stamp: that of its centre, or 0 where a twentieth of it is another's."""
    reach = stamp_half_width(half_width) + half_width
    offset = np.linspace(-reach, reach, _SAMPLES)
    ny, nx = pieces.shape
    x = np.clip(equations.x[:, None, None] + offset, 0, nx - 1)
    y = np.clip(equations.y[:, None, None] + offset[:, None], 0, ny - 1)
    x, y = np.broadcast_arrays(x, y)
    around = pieces.at(x, y)
    centre = around[:, _SAMPLES // 2, _SAMPLES // 2].astype(np.int64)
    # What is in no piece, a hole, has no PSF that could be another one.
    same = np.mean((around == centre[:, None, None]) | (around == 0), axis=(1, 2))
    return np.where(same >= _OF_ONE_PIECE, centre, 0)


def _chi2_of(fit: KernelFit, equations: StampEquations) -> Array:
    assert fit.solution is not None
    n_basis = equations.matrices.shape[1] - 1
    return equations.chi2(fit.solution.at(equations.x, equations.y, n_basis))


def _held_out(equations: StampEquations, found: KernelFit) -> Array:
    """Reduced chi^2 of each stamp against a fit to all others that the whole fit agrees with."""
    assert found.solution is not None
    n_basis = equations.matrices.shape[1] - 1
    chi2 = _chi2_of(found, equations)
    sane = chi2 <= _OUTLIER_CHI2 * np.median(chi2)
    for k in range(len(equations)):
        held = np.arange(len(equations)) == k
        fit = solve(equations.select(sane & ~held), found.solution.model)
        alone = equations.select(held)
        chi2[k] = np.inf if fit is None else alone.chi2(fit.at(alone.x, alone.y, n_basis))[0]
    return chi2


def _residual(equations: StampEquations, chi2: Array) -> float:
    """Part of the bright stars' own image that is left on them: root of the median power."""
    power = equations.squares - equations.n_pixels
    bright = power > _BRIGHT_SN2
    if np.count_nonzero(bright) < _LEAST_BRIGHT:
        return 0.0
    left = np.maximum(chi2 - 1.0, 0.0) * equations.n_pixels / np.maximum(power, 1.0)
    return float(np.sqrt(np.median(left[bright])))
