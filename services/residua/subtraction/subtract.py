"""Visit image minus template coadd: the whole chain, step by step."""

from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from residua.subtraction.background import refine_background
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.convolve import convolve_varying
from residua.subtraction.decorrelate import decorrelate
from residua.subtraction.detect import find_candidates, list_detections, mark_footprints
from residua.subtraction.difference import subtract_matched
from residua.subtraction.difference_mask import (
    TEMPLATE_FLAGS,
    WRONG_FLUX,
    difference_mask,
    good_pixels,
    merge_masks,
)
from residua.subtraction.errors import InsufficientCoverageError, InsufficientKernelStarsError
from residua.subtraction.fit_variance import fit_variance
from residua.subtraction.images import (
    DifferenceImage,
    FloatPlane,
    MaskPlane,
    PsfModel,
    ScienceImage,
    TemplateImage,
)
from residua.subtraction.infill import fill_flagged
from residua.subtraction.kernel import (
    choose_convolution,
    fit_kernel,
    kernel_half_width,
    stamp_half_width,
)
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.matched_filter import matched_filter
from residua.subtraction.peaks import noise_level
from residua.subtraction.planes import PlanePool
from residua.subtraction.prepare import check_images, clean_science
from residua.subtraction.psf import measure_psf
from residua.subtraction.quality import QualityRecord
from residua.subtraction.quality_measures import (
    check_quality,
    input_autocorrelation,
    kernel_sums,
    sky_statistics,
    star_peaks,
)
from residua.subtraction.stamps import StampNoise
from residua.subtraction.stars import select_kernel_stars
from residua.subtraction.template_psf import (
    convolved_psf,
    noise_factors,
    photometric_ratio,
    psf_on_science_grid,
)
from residua.subtraction.threads import run_beside, run_strips
from residua.subtraction.warp import WarpedTemplate, warp_templates

__all__ = ["subtract"]

_NO_DATA = int(MaskBit.NO_DATA)
_STARS_FOR_WIDTH = 40


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
    """
    config = config or SubtractionConfig()
    # One BLAS thread: more would change the order of sums, and thrash on small matrices.
    with threadpool_limits(limits=1, user_api="blas"):
        return _subtract(science, templates, config, threads, planes or PlanePool())


def _subtract(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig,
    threads: int,
    planes: PlanePool,
) -> DifferenceImage:
    check_images(science, templates)
    shape = (science.image.shape[0], science.image.shape[1])
    # Seven planes in all: some are used again, for something else, when their first use is over.
    science_mask = planes.mask_plane("science mask, difference, S/N", shape)
    merged = planes.mask_plane("mask", shape)
    template_planes = (
        planes.float_plane("template", shape),
        planes.float_plane("template variance, flux error", shape),
        planes.mask_plane("template mask, decorrelated difference", shape),
    )
    image, variance = clean_science(science, science_mask, threads=threads)

    # The template on the science image's pixels; the science image's PSF meanwhile.
    measured = run_beside(
        lambda: science.psf or measure_psf(image, variance, science_mask)[0], threads=threads
    )
    warped, coverage = _warp(science, templates, science_mask, template_planes, config, threads)
    merge_masks(science_mask, warped.mask, merged, threads=threads)
    fill_flagged(warped.image, warped.mask, WRONG_FLUX, threads=threads)

    # The two PSFs say which image is sharper and how large the kernel must be.
    science_psf = measured()
    template_psf = _template_psf(warped, templates, shape)
    convolved = choose_convolution(science_psf, template_psf, config)
    half_width = kernel_half_width(science_psf, template_psf, config)

    if convolved == "science":
        filled = planes.float_plane("filled science image", shape)
        np.copyto(filled, image)
        fill_flagged(filled, science_mask, WRONG_FLUX, threads=threads)
        image = filled

    # The kernel, from stamps of stars.
    source, source_variance = (
        (warped.image, warped.variance) if convolved == "template" else (image, variance)
    )
    stars = select_kernel_stars(
        image, variance, source, source_variance, merged, int(UNUSABLE),
        stamp_half_width=stamp_half_width(half_width), kernel_half_width=half_width,
    )  # fmt: skip
    ratio = photometric_ratio(image, warped.image, merged, int(UNUSABLE), stars)
    factors = noise_factors(science_psf, template_psf, ratio, convolved)
    noise = StampNoise(variance, warped.variance, *factors, merged, int(UNUSABLE))
    fit = fit_kernel(
        image, warped.image, noise, stars, config,
        convolved=convolved, half_width=half_width, threads=threads,
    )  # fmt: skip

    # Subtract; masked pixels are kept out of everything that follows.
    matched = convolve_varying(
        source, fit.kernel, fit.basis, threads=threads, out=planes.float_plane("matched", shape)
    )
    science_noise, template_noise = _noise_levels(variance, warped, factors, merged)
    mask = difference_mask(
        merged, (image, variance, science_mask), (warped.image, warped.mask), fit.kernel,
        convolved, threads=threads,
    )  # fmt: skip
    good = good_pixels(mask, threads=threads)
    target = image if convolved == "template" else warped.image
    sigma = float(np.hypot(science_noise, template_noise))
    kernel = refine_background(target, matched, good, fit.kernel, convolved, sigma)
    difference = subtract_matched(
        image, warped.image, matched, kernel, convolved,
        threads=threads, out=science_mask.view(np.float32),
    )  # fmt: skip

    # White noise, its variance, and the PSF that goes with it.
    unconvolved_psf = (
        science_psf if convolved == "template" else convolved_psf(science_psf, fit.kernel)
    )
    white = decorrelate(
        difference, good, variance, warped.variance, kernel=fit.kernel,
        noise_covariance=warped.noise_covariance, unconvolved_psf=unconvolved_psf,
        convolved=convolved, threads=threads, out_image=warped.mask.view(np.float32),
        out_variance=planes.float_plane("variance", shape),
    )  # fmt: skip

    # Detect; the fit's own noise counts at the peaks only.
    filtered = matched_filter(
        white.image, white.variance, good, white.psf,
        threads=threads, out=(difference, warped.variance),
    )  # fmt: skip
    fwhm = white.psf.fwhm()
    candidates = find_candidates(
        filtered.signal_to_noise, good, config.detection_threshold, fwhm, threads=threads
    )
    factor = 1.0 + _effective_area(white.psf) * fit_variance(
        fit, source, candidates.x, candidates.y
    ) / white.variance[candidates.y, candidates.x].astype(np.float64)
    accepted = np.abs(candidates.signal_to_noise) >= config.detection_threshold * np.sqrt(factor)
    candidates, factor = candidates.select(accepted), factor[accepted]
    mark_footprints(mask, filtered.signal_to_noise, candidates, config.detection_threshold, fwhm)
    detections = list_detections(candidates, filtered, factor, science.wcs)

    # How far it can be trusted.
    kernel_sum, kernel_sum_variation = kernel_sums(fit.kernel)
    preview = matched
    if convolved == "science":
        np.multiply(warped.image, np.float32(1.0 / kernel_sum), out=preview)
    sigma = noise_level(white.variance, mask, int(UNUSABLE))
    sky = sky_statistics(
        white.image, white.variance, filtered.signal_to_noise, preview, good, sigma
    )
    positive = sum(d.signal_to_noise > 0 for d in detections)
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
        template_fwhm=template_psf.fwhm(),
        template_to_science_noise=(template_noise / science_noise) ** 2,
        pull_rms=sky.pull_rms,
        matched_filter_sn_std=sky.matched_filter_sn_std,
        lag1_autocorrelation=sky.lag1_autocorrelation,
        bright_pull_ratio=sky.bright_pull_rms / sky.pull_rms,
        star_detection_fraction=star_peaks(preview, candidates.x, candidates.y, sigma),
        masked_fraction=1.0 - np.count_nonzero(good) / good.size,
        detections_positive=positive,
        detections_negative=len(detections) - positive,
        science_lag1_autocorrelation=input_autocorrelation(image, preview, good, sigma),
    )
    check_quality(record, config.limits, sky.sky_pixels)

    _blank(mask, (white.image, white.variance, preview), threads)
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


def _warp(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    science_mask: MaskPlane,
    out: tuple[FloatPlane, FloatPlane, MaskPlane],
    config: SubtractionConfig,
    threads: int,
) -> tuple[WarpedTemplate, float]:
    """Warp the templates; check the coverage of the science image's usable pixels."""
    if not templates:
        raise InsufficientCoverageError(
            "no template covers this detector", coverage=0.0, minimum=config.minimum_coverage
        )
    shape = (science_mask.shape[0], science_mask.shape[1])
    warped = warp_templates(
        templates, science.wcs, shape, planes=TEMPLATE_FLAGS, threads=threads, out=out
    )
    usable, covered = 0, 0
    for first in range(0, shape[0], 64):
        rows = slice(first, first + 64)
        usable_here = (science_mask[rows] & _NO_DATA) == 0
        usable += int(np.count_nonzero(usable_here))
        covered += int(np.count_nonzero(usable_here & ((warped.mask[rows] & _NO_DATA) == 0)))
    coverage = covered / max(usable, 1)
    if coverage < config.minimum_coverage:
        raise InsufficientCoverageError(
            f"templates cover {coverage:.1%} of the detector's usable pixels; "
            f"{config.minimum_coverage:.1%} are needed",
            coverage=coverage,
            minimum=config.minimum_coverage,
        )
    return warped, coverage


def _template_psf(
    warped: WarpedTemplate, templates: Sequence[TemplateImage], shape: tuple[int, int]
) -> PsfModel:
    """PSF of the warped template: measured on it, else the given one, resampled."""
    try:
        # Its width alone is needed: to choose the roles and the size of the kernel.
        return measure_psf(
            warped.image, warped.variance, warped.mask, maximum_stars=_STARS_FOR_WIDTH
        )[0]
    except InsufficientKernelStarsError:
        given = [t for t in templates if t.psf is not None]
        if not given:
            raise
        return psf_on_science_grid(given[0], warped.jacobian, shape)


def _effective_area(psf: PsfModel) -> float:
    ny, nx = psf.polynomial.shape
    return 1.0 / float(np.sum(psf.stamp((nx - 1) / 2, (ny - 1) / 2) ** 2))


def _noise_levels(
    variance: FloatPlane, warped: WarpedTemplate, factors: tuple[float, float], mask: MaskPlane
) -> tuple[float, float]:
    """Noise that each image brings into the difference, about."""
    science = noise_level(variance, mask, int(UNUSABLE)) * np.sqrt(factors[0])
    template = noise_level(warped.variance, mask, int(UNUSABLE)) * np.sqrt(factors[1])
    return float(science), float(template)


def _blank(mask: MaskPlane, planes: Sequence[FloatPlane], threads: int) -> None:
    """NaN where there are no data."""

    def strip(first: int, end: int) -> None:
        missing = (mask[first:end] & _NO_DATA) != 0
        if missing.any():
            for plane in planes:
                plane[first:end][missing] = np.nan

    run_strips(strip, mask.shape[0], threads=threads)
