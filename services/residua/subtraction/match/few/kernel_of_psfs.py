"""The matching kernel that two known PSFs imply: no star is needed."""

import numpy as np
import numpy.typing as npt

from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import (
    ConvolvedImage,
    FloatPlane,
    MatchingKernel,
    PsfModel,
    SpatialPolynomial,
)
from residua.subtraction.match.basis import KernelBasis, gauss_hermite_basis
from residua.subtraction.match.convolve import convolve_varying, varying_kernel
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.match.kernel_shape import KernelGroups

__all__ = ["kernel_of_psfs", "scale_of_sources"]

type Array = npt.NDArray[np.float64]

_LEAST_SIDE = 64
_RIDGE = 1e-6
"""On columns of unit norm; the flux term has none."""
_POSITIONS = 5
_CLIP = 5.0
_ROUNDS = 3
_SCALE_ERROR = 0.01


def kernel_of_psfs(
    science_psf: PsfModel,
    template_psf: PsfModel,
    *,
    convolved: ConvolvedImage,
    half_width: int,
    groups: KernelGroups,
    background_order: int,
) -> KernelFit:
    """Kernel that makes the sharper PSF the other one, of sum 1: both images in one scale.

    Least squares of ``K x P_source = P_target`` in the basis that the fit to stars has
    (Alard & Lupton 1998), at 5 x 5 positions where the PSFs vary. Forms in Fourier space, with
    a Wiener filter or a penalty, leave five times more of a star.

    Parameters
    ----------
    science_psf, template_psf
        PSFs on the science image's pixel grid.
    convolved
        Which image is convolved.
    half_width
        Half width of the kernel, pixels.
    groups
        The basis, from `residua.subtraction.match.kernel_shape.kernel_groups`.
    background_order
        Of the differential background, which is left at 0.

    Returns
    -------
    KernelFit
        Without stars and without covariance.
    """
    shape = science_psf.polynomial.shape
    source, target = (
        (template_psf, science_psf) if convolved == "template" else (science_psf, template_psf)
    )
    basis = gauss_hermite_basis(half_width, [s for s, _ in groups], [d for _, d in groups])
    order = max(p.polynomial.order for p in (source, target))
    count = _POSITIONS if order else 1
    polynomial = SpatialPolynomial(shape, min(order, 2))
    centres = [(n - 1) * (np.arange(count) + 0.5) / count for n in shape]
    y, x = (c.ravel() for c in np.meshgrid(*centres, indexing="ij"))
    images = basis.images()
    solved = np.array(
        [_solve(images, source.stamp(a, b), target.stamp(a, b)) for a, b in zip(x, y, strict=True)]
    )
    terms = polynomial.terms(x, y)
    coefficients = np.linalg.lstsq(terms, solved, rcond=None)[0].T
    background = SpatialPolynomial(shape, background_order)
    kernel = MatchingKernel(
        basis=images,
        coefficients=np.asarray(coefficients),
        polynomial=polynomial,
        background=np.zeros(len(background.exponents)),
        background_polynomial=background,
    )
    return _fit(kernel, basis, convolved, half_width)


def scale_of_sources(
    fit: KernelFit,
    source: FloatPlane,
    target: FloatPlane,
    variance: FloatPlane,
    good: npt.NDArray[np.bool_],
) -> KernelFit:
    """Scale a kernel of sum 1 by what the sources of the images say.

    Parameters
    ----------
    fit
        From `kernel_of_psfs`.
    source, target
        float32 (ny, nx): the image that is convolved, and the other.
    variance
        float32 (ny, nx): of the difference, about.
    good
        bool (ny, nx).

    Raises
    ------
    InsufficientKernelStarsError
        If they say it to no better than 1 %: the images must be in one flux unit then.
    """
    matched = convolve_varying(source, varying_kernel(fit.kernel, fit.basis)).astype(np.float64)
    border = fit.half_width
    use = good.copy()
    use[:border], use[-border:], use[:, :border], use[:, -border:] = False, False, False, False
    scale, error = 1.0, np.inf
    for _ in range(_ROUNDS):
        if use.sum() < 10:
            break
        m, t, v = matched[use], target[use].astype(np.float64), float(np.median(variance[use]))
        m = m - np.median(m)
        t = t - np.median(t)
        power = float(np.sum(m * m))
        scale, error = float(np.sum(m * t)) / power, float(np.sqrt(v / power))
        residual = np.zeros(use.shape)
        residual[use] = np.abs(t - scale * m)
        use &= residual <= _CLIP * np.sqrt(v)
    if not (scale > 0 and error < _SCALE_ERROR * scale):
        raise InsufficientKernelStarsError(
            f"the sources give the photometric scale to {error / max(scale, 1e-9):.1%} only and "
            "there are too few stars for a kernel: calibrate both images to one flux unit (nJy)",
            scale=scale,
            scale_error=error,
            kernel_stars=0,
        )
    kernel = fit.kernel
    scaled = MatchingKernel(
        kernel.basis, kernel.coefficients * scale, kernel.polynomial,
        kernel.background, kernel.background_polynomial,
    )  # fmt: skip
    return _fit(scaled, fit.basis, fit.convolved, fit.half_width)


def _fit(
    kernel: MatchingKernel, basis: KernelBasis, convolved: ConvolvedImage, half_width: int
) -> KernelFit:
    return KernelFit(
        kernel=kernel,
        basis=basis,
        convolved=convolved,
        solution=None,
        stars=0,
        rejected=0,
        half_width=half_width,
        chi2=float("nan"),
        chi2_p90_ratio=float("nan"),
    )


def _solve(images: Array, source: Array, target: Array) -> Array:
    """Coefficients, the first of them 1, of the kernel between two stamps of unit sum."""
    side = max(_LEAST_SIDE, images.shape[-1] + max(source.shape[0], target.shape[0]))
    side += side % 2
    responses = np.fft.rfft2(_placed(images, side)) * np.fft.rfft2(_placed(source, side))
    columns = np.fft.irfft2(responses, (side, side)).reshape(len(images), -1)
    rest = _placed(target, side).ravel() - columns[0]
    norms = np.sqrt(np.sum(columns[1:] ** 2, axis=1))
    design = columns[1:] / norms[:, None]
    normal = design @ design.T
    normal[np.diag_indices_from(normal)] += _RIDGE
    return np.append(1.0, np.linalg.solve(normal, design @ rest) / norms)


def _placed(stamps: Array, side: int) -> Array:
    """Stamps (..., n, n) with their centre at index [0, 0] of a periodic plane."""
    size = stamps.shape[-1]
    plane = np.zeros((*stamps.shape[:-2], side, side))
    plane[..., :size, :size] = stamps
    return np.roll(plane, (-(size // 2), -(size // 2)), axis=(-2, -1))
