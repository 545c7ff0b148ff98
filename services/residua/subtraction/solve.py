"""Visit image minus template coadd: the whole chain, step by step.

The global steps (registration, PSFs, kernel, background, noise, detection) are here; the passes
over pixels between them are those of `residua.subtraction.steps.passes`, which
`residua.subtraction.steps.apply` repeats. Whatever a pass takes from a global step is brought to
its kept form first, so that the image is the image of the solution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from residua.subtraction.align.coverage import warp_covering
from residua.subtraction.align.pixel_map import PixelMap, make_pixel_map
from residua.subtraction.align.registration import measure_registration, register_map
from residua.subtraction.align.warp import WarpedTemplate
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.detect.matched_filter import matched_filter
from residua.subtraction.detect.source_finding import find_sources
from residua.subtraction.detect.streaks import find_streaks, mark_streaks, streak_marks
from residua.subtraction.detect.trust.assessment import (
    assess,
    paired_fraction,
    with_assessment,
)
from residua.subtraction.detect.trust.quality_measures import (
    input_autocorrelation,
    kernel_sums,
    sky_statistics,
    star_peaks,
)
from residua.subtraction.engine.buffers import Loans, PlanePool
from residua.subtraction.engine.runs import bit_runs
from residua.subtraction.engine.threads import run_beside
from residua.subtraction.engine.window import whole
from residua.subtraction.errors import (
    caused_by,
    numerical_steps,
)
from residua.subtraction.images import (
    DifferenceImage,
    FloatPlane,
    MaskPlane,
    ScienceImage,
    TemplateImage,
)
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.match.background import median_background, refine_background
from residua.subtraction.match.convolve import varying_kernel
from residua.subtraction.match.difference import blank_missing, subtract_matched
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.match.kernel_shape import (
    choose_convolution,
    kernel_half_width,
)
from residua.subtraction.measure.measurements import MeasuredPlanes, measure_detections
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes, decorrelation_nodes
from residua.subtraction.noise.whitening import whiten
from residua.subtraction.pieces.fit import kernel_stamps
from residua.subtraction.pieces.labels import piece_map
from residua.subtraction.pieces.use import KernelPieces, runs_of
from residua.subtraction.pixels.cosmic_rays import hits_in_both, sharpness_limit
from residua.subtraction.pixels.difference_mask import TEMPLATE_FLAGS, reach_of_kernel
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.pixels.prepare import check_images, clean_science
from residua.subtraction.pixels.saturation import with_saturation
from residua.subtraction.psf.given import ChosenPsf, choose_psf, given_template_psf
from residua.subtraction.psf.resampling import convolved_psf
from residua.subtraction.psf.stars import OtherImage
from residua.subtraction.quality import QualityFlag, QualityRecord
from residua.subtraction.steps.apply import image_of
from residua.subtraction.steps.kept import kept_detections, kept_quality
from residua.subtraction.steps.matching import Images, match_images
from residua.subtraction.steps.passes import (
    Frame,
    fill_science,
    mark_hits,
    mask_and_match,
    merge_and_fill,
    preview,
)
from residua.subtraction.steps.solution import (
    ARITHMETIC,
    MAP_BITS,
    SCIENCE_PSF_BITS,
    InputUse,
    KernelUse,
    Solution,
    TemplateUse,
    fingerprint,
)

__all__ = ["solve", "solve_and_apply"]

type Array = npt.NDArray[np.float64]

_STARS_OF_PSF, _STARS_FOR_WIDTH = 120, 40
_FEW_SHARP = 2
_SEEN_SIGMAS = 5.0
_STAR_WIDTHS = 0.045
"""Scatter of the widths of PSF stars beyond which they are none."""


def solve(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig | None = None,
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> Solution:
    """Find all that is global about a subtraction: what `apply` needs to make any of its pixels.

    Parameters, errors as for `residua.subtraction.subtract.subtract`, since the image is made on
    the way: a solution is judged by its image. Who wants both calls `solve_and_apply`.

    Returns
    -------
    Solution
        See `residua.subtraction.steps.solution`; 0.09 to 0.19 MB when it is written.
    """
    return solve_and_apply(science, templates, config, threads=threads, planes=planes)[0]


def solve_and_apply(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig | None = None,
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> tuple[Solution, DifferenceImage]:
    """Solve, and make the image of the solution in the same pass.

    Parameters, errors as for `residua.subtraction.subtract.subtract`.

    Returns
    -------
    solution, difference
        ``apply(solution, science, templates)`` makes the same image again, bit for bit.
    """
    config = config or SubtractionConfig()
    # One BLAS thread: more would change the order of sums, and thrash on small matrices.
    with (
        threadpool_limits(limits=1, user_api="blas"),
        numerical_steps("the subtraction", pixels=science.image.size, templates=len(templates)),
    ):
        return _solve(science, templates, config, threads, planes or PlanePool())


@dataclass(frozen=True)
class _Inputs:
    """Both images with their saturation flagged, and what is to be remembered of them."""

    science: ScienceImage
    templates: tuple[TemplateImage, ...]
    science_use: InputUse
    template_uses: tuple[InputUse, ...]
    levels: tuple[tuple[str, float], ...]


def _solve(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig,
    threads: int,
    planes: PlanePool,
) -> tuple[Solution, DifferenceImage]:
    check_images(science, templates)
    inputs = _flag_saturation(science, templates)
    science, templates = inputs.science, inputs.templates
    shape = (science.image.shape[0], science.image.shape[1])
    loans = Loans(planes, shape)
    science_mask = loans.mask_plane("science mask")
    with caused_by("science"):
        image, variance = clean_science(science, science_mask, threads=threads)

    # The template on the science image's pixels, where its stars lie under the image's own.
    pixel_maps = [make_pixel_map(science.wcs, t.wcs, shape) for t in templates]
    registration = measure_registration(
        image, variance, science_mask, templates, pixel_maps, TEMPLATE_FLAGS
    )
    pixel_maps = [register_map(m, registration.field).rounded(MAP_BITS) for m in pixel_maps]
    warped, coverage = warp_covering(
        science, templates, science_mask, pixel_maps,
        (
            loans.float_plane("template"), loans.float_plane("template variance"),
            loans.mask_plane("template mask"),
        ),
        config, threads,
    )  # fmt: skip
    frame = Frame(
        whole(shape), image, variance, science_mask,
        warped.image, warped.variance, warped.mask, loans.mask_plane("mask"),
    )  # fmt: skip
    merge_and_fill(frame, threads=threads)

    # The two PSFs say which image is sharper and how large the kernel must be.
    chosen_psf, template_psf = _psfs(inputs, frame, pixel_maps, threads)
    science_psf = chosen_psf.psf
    sharpness, template_sharpness = mark_hits(
        frame,
        (sharpness_limit(science_psf), sharpness_limit(template_psf.psf)),
        threads=threads,
        bounded=True,
    )
    sharp_in_both = hits_in_both(science_mask, warped.mask)
    template_scale = float(abs(np.linalg.det(warped.jacobian)) ** -0.5)
    convolved = choose_convolution(science_psf, template_psf.psf, config, template_scale)
    half_width = kernel_half_width(science_psf, template_psf.psf, config)
    visit = image
    if convolved == "science":
        image = fill_science(frame, loans.float_plane("filled science"), threads=threads)
        frame = replace(frame, image=image)

    # The kernel, from stamps of stars.
    images = Images(
        image, variance, science_mask, warped.image, warped.variance, frame.merged, science.unit
    )
    match = match_images(
        images, chosen_psf, template_psf, config,
        convolved=convolved, half_width=half_width,
        pieces=lambda: piece_map(templates, pixel_maps, shape), threads=threads,
    )  # fmt: skip
    fit, factors = match.fit, match.noise_factors
    source = warped.image if convolved == "template" else image

    # Subtract; masked pixels are kept out of everything that follows.
    science_noise, template_noise = _noise_levels(variance, warped, factors, frame.merged)
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
    mask = frame.merged
    unconvolved_psf = (
        science_psf if convolved == "template" else convolved_psf(science_psf, fit.kernel)
    )

    def make_nodes(covariance: Array | None = None) -> DecorrelationNodes:
        return decorrelation_nodes(
            variance, warped.variance, good, kernel=fit.kernel,
            noise_covariance=warped.noise_covariance, unconvolved_psf=unconvolved_psf,
            convolved=convolved, covariance=covariance,
            kernels=partial(kernel_stamps, fit) if fit.pieces else None,
        )  # fmt: skip

    nodes_beside = run_beside(make_nodes, threads=threads)
    target = image if convolved == "template" else warped.image
    sigma = float(np.hypot(science_noise, template_noise))
    kernel = refine_background(
        target, matched, good, fit.kernel, convolved, sigma, config.background_order
    )
    if fit.solution is None and kernel is fit.kernel:
        reached = science_psf if convolved == "template" else template_psf.psf
        stamp = reached.stamp((shape[1] - 1) / 2, (shape[0] - 1) / 2)
        kernel = median_background(target, matched, good, kernel, sigma, stamp)
    difference = subtract_matched(
        image, warped.image, matched, kernel, convolved,
        threads=threads, out=loans.float_plane("difference"),
    )  # fmt: skip

    # White noise, its variance, and the PSF that goes with it.
    loans.give_back("template mask")
    whitened = whiten(
        difference, good, (variance, warped.variance),
        matched if convolved == "template" else warped.image, make_nodes, nodes_beside(),
        (loans.float_plane("decorrelated"), loans.float_plane("variance")),
        convolved=convolved, sigma=sigma,
        largest_factor=config.noise_correction, threads=threads,
    )  # fmt: skip
    white, nodes, noise = whitened.white, whitened.nodes, whitened.found
    for content in ("difference", "template variance"):
        loans.give_back(content)

    # Detect, and judge how far it can be trusted.
    filtered = matched_filter(
        white.image, white.variance, good, white.psf, threads=threads,
        out=(loans.float_plane("S/N"), loans.float_plane("flux error")),
    )  # fmt: skip
    kernel_sum, kernel_sum_variation = kernel_sums(fit.kernel)
    shown = preview(frame, matched, kernel_sum, convolved)
    sky_noise = noise_level(white.variance, mask, int(UNUSABLE))
    hints = tuple(
        f"saturation was unknown: {name} is cut off at {v:.6g}" for name, v in inputs.levels
    )
    # Before detection: where the noise is not what it claims to be, all the sky is detections.
    assessment = assess(
        white, filtered, shown, good, mask, fit,
        sigma=sky_noise, hints=hints, limits=config.limits,
        variance_scale=noise.scale if whitened.corrected else 1.0,
    )  # fmt: skip
    streaks = streak_marks(find_streaks(white.image, white.variance, shown, good, sky_noise))
    if len(streaks):
        mark_streaks(mask, good, streaks)
        filtered = matched_filter(
            white.image, white.variance, good, white.psf,
            threads=threads, out=(filtered.signal_to_noise, filtered.flux_error),
        )  # fmt: skip
    sky = run_beside(
        lambda: sky_statistics(
            white.image, white.variance, filtered.signal_to_noise, shown, good, sky_noise
        ),
        threads=threads,
    )
    peaks, sharp = find_sources(
        white, filtered, good, mask, fit, source, variance, nodes,
        visit, shown, assessment.stars.power_low,
        threshold=config.detection_threshold,
        peaks_per_area=config.limits.peaks_per_area, threads=threads,
    )  # fmt: skip
    detections = measure_detections(
        peaks,
        MeasuredPlanes(
            image=white.image,
            variance=white.variance,
            psf=white.psf,
            signal_to_noise=filtered.signal_to_noise,
            good=good,
            mask=mask,
            science=visit,
            science_variance=variance,
            science_psf=science_psf,
            template=shown,
            template_psf=science_psf if convolved == "template" else template_psf.psf,
        ),
        science.wcs,
    )
    statistics = sky()
    record = QualityRecord(
        coverage=coverage,
        kernel_stars=fit.stars,
        kernel_stars_rejected=fit.rejected,
        kernel_half_width=half_width,
        kernel_basis_functions=fit.basis.n_basis,
        kernel_spatial_order=fit.kernel.polynomial.order,
        kernel_pieces=len(fit.pieces),
        kernel_sum=kernel_sum,
        kernel_sum_variation=kernel_sum_variation,
        kernel_chi2=fit.chi2,
        kernel_chi2_p90_ratio=fit.chi2_p90_ratio,
        science_fwhm=science_psf.fwhm(),
        template_fwhm=template_psf.psf.fwhm(),
        template_to_science_noise=(template_noise / science_noise) ** 2,
        pull_rms=statistics.pull_rms,
        matched_filter_sn_std=statistics.matched_filter_sn_std,
        lag1_autocorrelation=statistics.lag1_autocorrelation,
        bright_pull_ratio=statistics.bright_pull_rms / statistics.pull_rms,
        star_detection_fraction=star_peaks(shown, peaks.x, peaks.y, sky_noise),
        masked_fraction=1.0 - np.count_nonzero(good) / good.size,
        dipole_fraction=paired_fraction(peaks.x, peaks.y, peaks.sign, assessment.fwhm),
        detections_positive=int(np.count_nonzero(peaks.sign > 0)),
        detections_negative=int(np.count_nonzero(peaks.sign < 0)),
        science_lag1_autocorrelation=input_autocorrelation(image, shown, good, sky_noise),
        variance_scale=noise.scale,
        noise_lag1=noise.lag1,
        noise_excess=noise.excess,
        noise_excess_error=noise.excess_error,
        noise_corrected=whitened.corrected,
        registration_stars=registration.stars,
        registration_stars_offered=registration.offered,
        registration_offset_x=registration.offset[0],
        registration_offset_y=registration.offset[1],
        registration_rms=registration.rms,
        registration_maximum=registration.maximum,
        registration_scale=registration.scale,
    )
    further = [QualityFlag("saturation_unknown", v, 0.0) for _, v in inputs.levels]
    if noise.variation.significant:
        further.append(QualityFlag("variance_varies", noise.variation.rms, 0.0))
    scatter = np.fmax(chosen_psf.width_scatter, template_psf.width_scatter)
    if scatter > _STAR_WIDTHS:
        further.append(QualityFlag("psf_star_widths", float(scatter), _STAR_WIDTHS))
    if sharp_in_both > _FEW_SHARP:
        further.append(QualityFlag("sharp_in_both", sharp_in_both, _FEW_SHARP))
    if fit.without_kernel:
        further.append(QualityFlag("pieces_without_kernel", fit.without_kernel, 0.0))
    if len(streaks):
        further.append(QualityFlag("streak", len(streaks), 0.0))
    record = kept_quality(with_assessment(record, assessment, science.unit, further))

    blank_missing(mask, (white.image, white.variance, shown), threads=threads)
    solution = Solution(
        arithmetic=ARITHMETIC,
        config=config,
        shape=shape,
        unit=science.unit,
        convolved=convolved,
        science=inputs.science_use,
        templates=tuple(
            TemplateUse(use, t.name, m)
            for use, t, m in zip(inputs.template_uses, templates, pixel_maps, strict=True)
        ),
        sharpness=sharpness,
        template_sharpness=template_sharpness,
        kernel=KernelUse(kernel, fit.basis, applied, reach, border, pieces),
        filters=whitened.filters,
        science_psf=science_psf,
        streaks=streaks,
        footprints=_footprints(mask),
        sharp=np.column_stack([sharp.x, sharp.y]).astype(np.int32),
        detections=kept_detections(detections),
        quality=record,
    )
    return solution, image_of(solution, science, white.image, white.variance, mask, shown)


def _flag_saturation(science: ScienceImage, templates: Sequence[TemplateImage]) -> _Inputs:
    flagged, level = with_saturation(science)
    uses = [_use(science, level)]
    levels = [("science", level)]
    patches = []
    for template in templates:
        patch, level = with_saturation(template)
        patches.append(patch)
        uses.append(_use(template, level))
        levels.append((template.name, level))
    found = tuple((name, v) for name, v in levels if v is not None)
    return _Inputs(flagged, tuple(patches), uses[0], tuple(uses[1:]), found)


def _use(image: ScienceImage | TemplateImage, level: float | None) -> InputUse:
    ny, nx = image.image.shape
    return InputUse((ny, nx), fingerprint(image), None if level is None else float(level))


def _psfs(
    inputs: _Inputs, frame: Frame, pixel_maps: Sequence[PixelMap], threads: int
) -> tuple[ChosenPsf, ChosenPsf]:
    """PSFs of the science image, as it is kept, and of the template."""
    science = inputs.science
    measured = run_beside(
        lambda: choose_psf(
            science.psf, frame.image, frame.variance, frame.science_mask,
            maximum_stars=_STARS_OF_PSF,
            other=_seen_in(frame.template, frame.template_variance, frame.merged),
        ),
        threads=threads,
    )  # fmt: skip
    with caused_by("template"):
        # Mostly its width alone is needed: to choose the roles and the size of the kernel.
        template_psf = choose_psf(
            given_template_psf(inputs.templates, pixel_maps, frame.window.image),
            frame.template, frame.template_variance, frame.template_mask,
            maximum_stars=_STARS_FOR_WIDTH,
            other=_seen_in(frame.image, frame.variance, frame.merged),
        )  # fmt: skip
    with caused_by("science"):
        chosen = measured()
    return replace(chosen, psf=chosen.psf.rounded(SCIENCE_PSF_BITS)), template_psf


def _seen_in(image: FloatPlane, variance: FloatPlane, mask: MaskPlane) -> OtherImage:
    """Tell what an image shows: pixels of five times its noise."""
    return image, _SEEN_SIGMAS * noise_level(variance, mask, int(UNUSABLE))


def _pieces(fit: KernelFit) -> KernelPieces | None:
    """Kernels of the template's pieces as they are applied."""
    if fit.labels is None:
        return None
    kernels = tuple(varying_kernel(part.kernel, part.basis) for part in fit.pieces)
    return KernelPieces(kernels, runs_of(fit.labels))


def _footprints(mask: MaskPlane) -> npt.NDArray[np.int32]:
    """Find the runs of detected pixels: row, first and last column, sign."""
    runs = [
        np.insert(bit_runs(mask, int(bit)), 3, sign, axis=1)
        for sign, bit in ((1, MaskBit.DETECTED), (-1, MaskBit.DETECTED_NEGATIVE))
    ]
    return np.concatenate(runs).astype(np.int32)


def _noise_levels(
    variance: FloatPlane, warped: WarpedTemplate, factors: tuple[float, float], mask: MaskPlane
) -> tuple[float, float]:
    """Noise that each image brings into the difference, about."""
    science = noise_level(variance, mask, int(UNUSABLE)) * np.sqrt(factors[0])
    template = noise_level(warped.variance, mask, int(UNUSABLE)) * np.sqrt(factors[1])
    return float(science), float(template)
