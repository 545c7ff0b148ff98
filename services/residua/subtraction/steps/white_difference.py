"""Match, subtract and whiten: from both images on one grid to a difference of white noise."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.engine.buffers import Loans
from residua.subtraction.engine.threads import run_beside
from residua.subtraction.images import FloatPlane
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.match.background import median_background, refine_background
from residua.subtraction.match.convolve import varying_kernel
from residua.subtraction.match.difference import subtract_matched
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes, decorrelation_nodes
from residua.subtraction.noise.whitening import Whitened, whiten
from residua.subtraction.pieces.fit import kernel_stamps
from residua.subtraction.pieces.labels import piece_map
from residua.subtraction.pieces.use import KernelPieces, runs_of
from residua.subtraction.pixels.difference_mask import reach_of_kernel
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.psf.resampling import convolved_psf
from residua.subtraction.steps.matching import Images, Match, match_images
from residua.subtraction.steps.one_grid import OneGrid
from residua.subtraction.steps.passes import Frame, mask_and_match
from residua.subtraction.steps.roles import Roles
from residua.subtraction.steps.solution import KernelUse

__all__ = ["WhiteDifference", "find_kernel", "subtract_and_whiten"]

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WhiteDifference:
    """The difference with white noise.

    Parameters
    ----------
    kernel
        With its background, as it was applied.
    matched
        float32 (ny, nx): the image that was convolved.
    good
        bool (ny, nx): pixels that are not masked.
    whitened
        The difference, its filters, and what was found of its noise.
    science_noise, template_noise
        Noise that each image brings, about, unit of the image.
    """

    kernel: KernelUse
    matched: FloatPlane
    good: npt.NDArray[np.bool_]
    whitened: Whitened
    science_noise: float
    template_noise: float


def find_kernel(grid: OneGrid, roles: Roles, config: SubtractionConfig, *, threads: int) -> Match:
    """Fit the matching kernel to stamps of stars; see `match_images`."""
    frame = roles.frame
    images = Images(
        frame.image, frame.variance, frame.science_mask, frame.template, frame.template_variance,
        frame.merged, grid.science.unit,
    )  # fmt: skip
    return match_images(
        images, roles.science_psf, roles.template_psf, config,
        convolved=roles.convolved, half_width=roles.half_width,
        pieces=lambda: piece_map(grid.templates, grid.pixel_maps, frame.window.image),
        threads=threads,
    )  # fmt: skip


def subtract_and_whiten(
    grid: OneGrid,
    roles: Roles,
    match: Match,
    config: SubtractionConfig,
    loans: Loans,
    *,
    threads: int,
) -> WhiteDifference:
    """Convolve, subtract, and make the noise white; masked pixels are kept out of all of it.

    Parameters
    ----------
    grid, roles
        Both images; the merged mask becomes that of the difference.
    match
        The kernel.
    config
        Choices.
    loans
        Memory; gets back both images' masks, the template's variance and the raw difference.
    threads
        Threads to use; the result does not depend on it.
    """
    frame, convolved, fit = roles.frame, roles.convolved, match.fit
    science_psf, template_psf = roles.science_psf.psf, roles.template_psf.psf
    science_noise, template_noise = _noise_levels(frame, match.noise_factors)
    reach = max(reach_of_kernel(part.kernel) for part in (fit, *fit.pieces))
    # A kernel without noise has no wings beyond its reach.
    border = reach if fit.solution is None else fit.half_width
    applied = varying_kernel(fit.kernel, fit.basis)
    pieces = _pieces(fit)
    matched = loans.float_plane("matched")
    good = mask_and_match(
        frame, applied, convolved,
        reach=reach, border=border, out=matched, pieces=pieces, threads=threads,
    )  # fmt: skip
    loans.give_back("science mask")
    unconvolved_psf = (
        science_psf if convolved == "template" else convolved_psf(science_psf, fit.kernel)
    )

    def make_nodes(covariance: Array | None = None) -> DecorrelationNodes:
        return decorrelation_nodes(
            frame.variance, frame.template_variance, good, kernel=fit.kernel,
            noise_covariance=grid.warped.noise_covariance, unconvolved_psf=unconvolved_psf,
            convolved=convolved, covariance=covariance,
            kernels=partial(kernel_stamps, fit) if fit.pieces else None,
        )  # fmt: skip

    nodes_beside = run_beside(make_nodes, threads=threads)
    target = frame.image if convolved == "template" else frame.template
    sigma = float(np.hypot(science_noise, template_noise))
    kernel = refine_background(
        target, matched, good, fit.kernel, convolved, sigma, config.background_order
    )
    if fit.solution is None and kernel is fit.kernel:
        ny, nx = frame.window.image
        reached = science_psf if convolved == "template" else template_psf
        stamp = reached.stamp((nx - 1) / 2, (ny - 1) / 2)
        kernel = median_background(target, matched, good, kernel, sigma, stamp)
    difference = subtract_matched(
        frame.image, frame.template, matched, kernel, convolved,
        threads=threads, out=loans.float_plane("difference"),
    )  # fmt: skip

    # White noise, its variance, and the PSF that goes with it.
    loans.give_back("template mask")
    whitened = whiten(
        difference, good, (frame.variance, frame.template_variance),
        matched if convolved == "template" else frame.template, make_nodes, nodes_beside(),
        (loans.float_plane("decorrelated"), loans.float_plane("variance")),
        convolved=convolved, sigma=sigma,
        largest_factor=config.noise_correction, threads=threads,
    )  # fmt: skip
    for content in ("difference", "template variance"):
        loans.give_back(content)
    use = KernelUse(kernel, fit.basis, applied, reach, border, pieces)
    return WhiteDifference(use, matched, good, whitened, science_noise, template_noise)


def _pieces(fit: KernelFit) -> KernelPieces | None:
    """Kernels of the template's pieces as they are applied."""
    if fit.labels is None:
        return None
    kernels = tuple(varying_kernel(part.kernel, part.basis) for part in fit.pieces)
    return KernelPieces(kernels, runs_of(fit.labels))


def _noise_levels(frame: Frame, factors: tuple[float, float]) -> tuple[float, float]:
    """Noise that each image brings into the difference, about."""
    bits = int(UNUSABLE)
    science = noise_level(frame.variance, frame.merged, bits) * np.sqrt(factors[0])
    template = noise_level(frame.template_variance, frame.merged, bits) * np.sqrt(factors[1])
    return float(science), float(template)
