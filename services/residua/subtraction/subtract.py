"""Visit image minus template coadd: the whole chain, step by step."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from residua.subtraction.align.coverage import warp_covering
from residua.subtraction.align.pixel_map import make_pixel_map
from residua.subtraction.align.registration import measure_registration, register_map
from residua.subtraction.align.warp import WarpedTemplate
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.detect.assessment import (
    assess,
    paired_fraction,
    with_assessment,
)
from residua.subtraction.detect.matched_filter import matched_filter
from residua.subtraction.detect.quality_measures import (
    input_autocorrelation,
    kernel_sums,
    sky_statistics,
    star_peaks,
)
from residua.subtraction.detect.sources import find_sources
from residua.subtraction.detect.streaks import find_streaks, mark_streaks
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.engine.threads import run_beside
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
from residua.subtraction.match.convolve import convolve_varying
from residua.subtraction.match.difference import blank_missing, subtract_matched
from residua.subtraction.match.kernel_shape import (
    choose_convolution,
    kernel_half_width,
)
from residua.subtraction.matching import Images, match_images
from residua.subtraction.measure.sources import MeasuredPlanes, measure_detections
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes, decorrelation_nodes
from residua.subtraction.noise.whitening import whiten
from residua.subtraction.pixels.cosmic_rays import mark_cosmic_rays
from residua.subtraction.pixels.difference_mask import (
    TEMPLATE_FLAGS,
    WRONG_FLUX,
    difference_mask,
    good_pixels,
    merge_masks,
    reach_of_kernel,
)
from residua.subtraction.pixels.infill import fill_flagged
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.pixels.prepare import check_images, clean_science
from residua.subtraction.pixels.saturation import with_saturation
from residua.subtraction.psf.given import choose_psf, given_template_psf
from residua.subtraction.psf.resampling import convolved_psf
from residua.subtraction.quality import QualityFlag, QualityRecord

__all__ = ["subtract"]

type Array = npt.NDArray[np.float64]

_STARS_OF_PSF, _STARS_FOR_WIDTH = 120, 40


def subtract(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig | None = None,
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> DifferenceImage:
    """Subtract PSF-matched template coadds from a visit image.

    Warp, match (Alard & Lupton 1998), subtract, decorrelate (DMTN-021), mask, detect and
    measure the quality. The result does not depend on ``threads``.

    Parameters
    ----------
    science
        One detector of one visit, background-subtracted.
    templates
        Template patches, in the science image's unit, on any WCS. Patches that do not overlap
        the image do no harm.
    config
        Choices; default `SubtractionConfig()`.
    threads
        Threads to use.
    planes
        Buffers to reuse: saves a third of the time of a worker that subtracts one detector
        after another. The planes of the result then belong to the pool and are overwritten
        by the next subtraction that uses it.

    Returns
    -------
    DifferenceImage

    Raises
    ------
    BadImageError
        If the images' planes or units do not fit together or hold no usable pixel.
    InsufficientCoverageError
        If the templates cover less of the detector than ``config.minimum_coverage``.
    InsufficientKernelStarsError
        If there are too few stars for the PSF or for the matching kernel.
    BadSubtractionError
        If the quality record is outside ``config.limits``.
    NumericalError
        If the images drive a step out of its domain.
    """
    config = config or SubtractionConfig()
    # One BLAS thread: more would change the order of sums, and thrash on small matrices.
    with (
        threadpool_limits(limits=1, user_api="blas"),
        numerical_steps("the subtraction", pixels=science.image.size, templates=len(templates)),
    ):
        return _subtract(science, templates, config, threads, planes or PlanePool())


def _subtract(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig,
    threads: int,
    planes: PlanePool,
) -> DifferenceImage:
    check_images(science, templates)
    science, level = with_saturation(science)
    levels = [("science", level)]
    patches = []
    for template in templates:
        patch, level = with_saturation(template)
        patches.append(patch)
        levels.append((template.name, level))
    templates = patches
    shape = (science.image.shape[0], science.image.shape[1])
    # Seven planes in all: some are used again, for something else, when their first use is over.
    science_mask = planes.mask_plane("science mask, difference, S/N", shape)
    merged = planes.mask_plane("mask", shape)
    template_planes = (
        planes.float_plane("template", shape),
        planes.float_plane("template variance, flux error", shape),
        planes.mask_plane("template mask, decorrelated difference", shape),
    )
    with caused_by("science"):
        image, variance = clean_science(science, science_mask, threads=threads)
    visit = image

    # The template on the science image's pixels, where its stars lie under the image's own.
    pixel_maps = [make_pixel_map(science.wcs, t.wcs, shape) for t in templates]
    registration = measure_registration(
        image, variance, science_mask, templates, pixel_maps, TEMPLATE_FLAGS
    )
    pixel_maps = [register_map(m, registration.field) for m in pixel_maps]
    warped, coverage = warp_covering(
        science, templates, science_mask, pixel_maps, template_planes, config, threads
    )
    merge_masks(science_mask, warped.mask, merged, threads=threads)
    fill_flagged(warped.image, warped.mask, WRONG_FLUX, threads=threads)

    # The two PSFs say which image is sharper and how large the kernel must be.
    measured = run_beside(
        lambda: choose_psf(science.psf, image, variance, science_mask, maximum_stars=_STARS_OF_PSF),
        threads=threads,
    )
    with caused_by("template"):
        # Mostly its width alone is needed: to choose the roles and the size of the kernel.
        template_psf = choose_psf(
            given_template_psf(templates, pixel_maps, shape),
            warped.image, warped.variance, warped.mask, maximum_stars=_STARS_FOR_WIDTH,
        )  # fmt: skip
    with caused_by("science"):
        chosen_psf = measured()
    science_psf = chosen_psf.psf
    mark_cosmic_rays(visit, variance, science_psf, (science_mask, merged))
    if mark_cosmic_rays(warped.image, warped.variance, template_psf.psf, (warped.mask, merged)):
        fill_flagged(
            warped.image, warped.mask, int(MaskBit.COSMIC_RAY), cores=True, threads=threads
        )
    template_scale = float(abs(np.linalg.det(warped.jacobian)) ** -0.5)
    convolved = choose_convolution(science_psf, template_psf.psf, config, template_scale)
    half_width = kernel_half_width(science_psf, template_psf.psf, config)

    if convolved == "science":
        filled = planes.float_plane("filled science image", shape)
        np.copyto(filled, image)
        fill_flagged(filled, science_mask, WRONG_FLUX, threads=threads)
        image = filled

    # The kernel, from stamps of stars.
    images = Images(
        image, variance, science_mask, warped.image, warped.variance, merged, science.unit
    )
    match = match_images(
        images, chosen_psf, template_psf, config,
        convolved=convolved, half_width=half_width, threads=threads,
    )  # fmt: skip
    fit, factors = match.fit, match.noise_factors
    source = warped.image if convolved == "template" else image

    # Subtract; masked pixels are kept out of everything that follows.
    science_noise, template_noise = _noise_levels(variance, warped, factors, merged)
    masked = run_beside(
        lambda: difference_mask(
            merged, (image, variance, science_mask), (warped.image, warped.mask), fit.kernel,
            convolved,
            # A kernel without noise has no wings beyond its reach.
            border=reach_of_kernel(fit.kernel) if fit.solution is None else None,
        ),
        threads=threads,
    )  # fmt: skip
    matched = convolve_varying(
        source, fit.kernel, fit.basis, threads=threads, out=planes.float_plane("matched", shape)
    )
    mask = masked()
    good = good_pixels(mask, threads=threads)
    unconvolved_psf = (
        science_psf if convolved == "template" else convolved_psf(science_psf, fit.kernel)
    )

    def make_nodes(covariance: Array | None = None) -> DecorrelationNodes:
        return decorrelation_nodes(
            variance, warped.variance, good, kernel=fit.kernel,
            noise_covariance=warped.noise_covariance, unconvolved_psf=unconvolved_psf,
            convolved=convolved, covariance=covariance,
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
        threads=threads, out=science_mask.view(np.float32),
    )  # fmt: skip

    # White noise, its variance, and the PSF that goes with it.
    whitened = whiten(
        difference, good, (variance, warped.variance),
        matched if convolved == "template" else warped.image, make_nodes, nodes_beside(),
        (warped.mask.view(np.float32), planes.float_plane("variance", shape)),
        convolved=convolved, sigma=sigma,
        largest_factor=config.noise_correction, threads=threads,
    )  # fmt: skip
    white, nodes, noise = whitened.white, whitened.nodes, whitened.found

    # Detect, and judge how far it can be trusted.
    filtered = matched_filter(
        white.image, white.variance, good, white.psf,
        threads=threads, out=(difference, warped.variance),
    )  # fmt: skip
    kernel_sum, kernel_sum_variation = kernel_sums(fit.kernel)
    preview = matched
    if convolved == "science":
        np.multiply(warped.image, np.float32(1.0 / kernel_sum), out=preview)
    sky_noise = noise_level(white.variance, mask, int(UNUSABLE))
    hints = tuple(
        f"saturation was unknown: {name} is cut off at {v:.6g}"
        for name, v in levels
        if v is not None
    )
    # Before detection: where the noise is not what it claims to be, all the sky is detections.
    assessment = assess(
        white, filtered, preview, good, mask, fit,
        sigma=sky_noise, hints=hints, limits=config.limits,
        variance_scale=noise.scale if whitened.corrected else 1.0,
    )  # fmt: skip
    streaks = find_streaks(white.image, white.variance, preview, good, sky_noise)
    if streaks:
        mark_streaks(mask, good, streaks)
        filtered = matched_filter(
            white.image, white.variance, good, white.psf,
            threads=threads, out=(filtered.signal_to_noise, filtered.flux_error),
        )  # fmt: skip
    sky = run_beside(
        lambda: sky_statistics(
            white.image, white.variance, filtered.signal_to_noise, preview, good, sky_noise
        ),
        threads=threads,
    )
    peaks = find_sources(
        white, filtered, good, mask, fit, source, variance, nodes,
        visit, preview, assessment.stars.power_low,
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
            template=preview,
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
        star_detection_fraction=star_peaks(preview, peaks.x, peaks.y, sky_noise),
        masked_fraction=1.0 - np.count_nonzero(good) / good.size,
        dipole_fraction=paired_fraction(peaks.x, peaks.y, peaks.sign, assessment.fwhm),
        detections_positive=int(np.count_nonzero(peaks.sign > 0)),
        detections_negative=int(np.count_nonzero(peaks.sign < 0)),
        science_lag1_autocorrelation=input_autocorrelation(image, preview, good, sky_noise),
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
    further = [QualityFlag("saturation_unknown", v, 0.0) for _, v in levels if v is not None]
    if noise.variation.significant:
        further.append(QualityFlag("variance_varies", noise.variation.rms, 0.0))
    if streaks:
        further.append(QualityFlag("streak", len(streaks), 0.0))
    record = with_assessment(record, assessment, science.unit, further)

    blank_missing(mask, (white.image, white.variance, preview), threads=threads)
    return DifferenceImage(
        image=white.image,
        variance=white.variance,
        mask=mask,
        wcs=science.wcs,
        psf=white.psf,
        science_psf=science_psf,
        unit=science.unit,
        kernel=kernel,
        convolved=convolved,
        matched_template=preview,
        detections=detections,
        quality=record,
    )


def _noise_levels(
    variance: FloatPlane, warped: WarpedTemplate, factors: tuple[float, float], mask: MaskPlane
) -> tuple[float, float]:
    """Noise that each image brings into the difference, about."""
    science = noise_level(variance, mask, int(UNUSABLE)) * np.sqrt(factors[0])
    template = noise_level(warped.variance, mask, int(UNUSABLE)) * np.sqrt(factors[1])
    return float(science), float(template)
