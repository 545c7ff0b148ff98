"""From a visit arrival to its outcome: the whole use case on one page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from residua.errors import ResiduaError, UnusableImageError
from residua.identity import (
    Run,
    configuration_dict,
    configuration_hash,
    dataset_id,
    object_key,
    publisher_did,
)
from residua.ports import ImageStore, Provenance, StoredDifferenceImage, VisitImage
from residua.region import regions_overlap
from residua.subtraction.errors import InsufficientCoverageError, SubtractionError
from residua.subtraction.images import DifferenceImage
from residua.subtraction.subtract import subtract
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    KernelSummary,
    Quality,
    Responsible,
    TemplateCoadd,
    TemplateReference,
    VisitArrival,
)

__all__ = ["Outcome", "ProcessingContext", "failed", "process"]

type Outcome = DifferenceImageCreated | DifferenceImageSkipped | DifferenceImageFailed

_SOFTWARE = ("residua", "numpy", "numba", "scipy", "astropy", "lsst-images", "imagecodecs")


@dataclass(frozen=True)
class ProcessingContext:
    """What stays the same from arrival to arrival.

    Parameters
    ----------
    run
        The run all outcomes belong to.
    authority
        IVOA authority of the publisher DIDs, for example ``org.example``.
    threads
        Threads of one subtraction; never changes a bit of the result.
    """

    run: Run
    authority: str = "org.residua"
    threads: int = 1


def process(
    arrival: VisitArrival,
    candidates: Sequence[TemplateCoadd],
    store: ImageStore,
    context: ProcessingContext,
) -> Outcome:
    """Make, store and describe the difference image of one visit-detector.

    Parameters
    ----------
    arrival
        The visit-detector and where its image is.
    candidates
        Templates of its band that may overlap it; those that do are used.
    store
        Where images are read and written.
    context
        The run and its settings.

    Returns
    -------
    outcome
        Created, skipped or failed. The file is in the store before "created" is returned, so
        that publishing it keeps the order store, publish, acknowledge. The same arrival,
        files and context give the same outcome, to the byte.

    Raises
    ------
    residua.errors.TransientError
        A component does not answer; the arrival has no outcome yet and must be tried again.
    """
    try:
        visit_image = store.read_visit_image(arrival)
        overlapping = [t for t in candidates if regions_overlap(t.region, visit_image.region)]
        if not overlapping:
            return _skipped(
                arrival,
                context,
                "no_template",
                f"none of the {len(candidates)} candidate {arrival.band}-band templates of set "
                f"{context.run.template_set} overlaps {arrival.visit_detector}",
                {"candidates": len(candidates), "coverage": 0.0},
            )
        templates = [store.read_template(template) for template in overlapping]
        difference = subtract(
            visit_image.image, templates, context.run.config, threads=context.threads
        )
        provenance = _provenance(arrival, visit_image, overlapping, context)
        stored = store.write_difference_image(
            object_key(context.run.name, arrival.visit_detector, visit_image.observation.day_obs),
            difference,
            visit_image,
            provenance,
        )
    except InsufficientCoverageError as e:
        return _skipped(arrival, context, "insufficient_coverage", e.message, dict(e.numbers))
    except SubtractionError as e:
        return failed(arrival, context.run.name, e, "producer")
    except ResiduaError as e:
        return failed(arrival, context.run.name, e, e.responsible)
    except MemoryError as e:
        error = UnusableImageError(f"not enough memory to subtract {arrival.visit_detector}: {e}")
        return failed(arrival, context.run.name, error, "operator")
    return _created(arrival, visit_image, difference, provenance, stored, context)


def failed(
    arrival: VisitArrival,
    run: str,
    error: ResiduaError | SubtractionError,
    responsible: Responsible,
) -> DifferenceImageFailed:
    """Build the failed outcome of an arrival whose processing raised ``error``."""
    return DifferenceImageFailed(
        dataset_id=dataset_id(run, arrival.visit_detector),
        run=run,
        visit_detector=arrival.visit_detector,
        revision=arrival.revision,
        arrival=arrival,
        error=type(error).__name__,
        responsible=responsible,
        message=error.message,
        numbers=_finite(error.numbers),
    )


def _skipped(
    arrival: VisitArrival,
    context: ProcessingContext,
    reason: str,
    message: str,
    numbers: dict[str, float],
) -> DifferenceImageSkipped:
    return DifferenceImageSkipped(
        dataset_id=dataset_id(context.run.name, arrival.visit_detector),
        run=context.run.name,
        visit_detector=arrival.visit_detector,
        revision=arrival.revision,
        arrival=arrival,
        reason="no_template" if reason == "no_template" else "insufficient_coverage",
        message=message,
        numbers=_finite(numbers),
    )


def _provenance(
    arrival: VisitArrival,
    visit_image: VisitImage,
    templates: Sequence[TemplateCoadd],
    context: ProcessingContext,
) -> Provenance:
    dataset = dataset_id(context.run.name, arrival.visit_detector)
    return Provenance(
        dataset_id=str(dataset),
        run=context.run.name,
        obs_publisher_did=publisher_did(context.authority, dataset),
        visit_image=visit_image.reference,
        templates=tuple(
            TemplateReference(
                uri=t.uri,
                checksum=t.checksum,
                dataset_id=t.dataset_id,
                skymap=t.skymap,
                tract=t.tract,
                patch=t.patch,
            )
            for t in templates
        ),
        template_set=context.run.template_set,
        configuration_hash=configuration_hash(context.run.config),
        software={name: version(name) for name in _SOFTWARE},
    )


def _created(
    arrival: VisitArrival,
    visit_image: VisitImage,
    difference: DifferenceImage,
    provenance: Provenance,
    stored: StoredDifferenceImage,
    context: ProcessingContext,
) -> DifferenceImageCreated:
    observation = visit_image.observation
    return DifferenceImageCreated(
        dataset_id=dataset_id(context.run.name, arrival.visit_detector),
        run=context.run.name,
        visit_detector=arrival.visit_detector,
        revision=arrival.revision,
        arrival=arrival,
        uri=stored.uri,
        checksum=stored.checksum,
        size_bytes=stored.size_bytes,
        preview_uri=stored.preview_uri,
        obs_publisher_did=provenance.obs_publisher_did,
        day_obs=observation.day_obs,
        band=observation.band,
        physical_filter=observation.physical_filter,
        facility_name=observation.facility_name,
        target_name=observation.target_name,
        begin_tai=observation.begin_tai,
        end_tai=observation.end_tai,
        exposure_time=observation.exposure_time,
        airmass=observation.airmass,
        weather=observation.weather,
        em_min=observation.em_min,
        em_max=observation.em_max,
        unit=difference.unit,
        region=visit_image.region,
        shape=(difference.image.shape[0], difference.image.shape[1]),
        pixel_scale=visit_image.pixel_scale,
        psf_fwhm=difference.psf.fwhm() * visit_image.pixel_scale,
        visit_image=provenance.visit_image,
        templates=tuple(provenance.templates),
        template_set=provenance.template_set,
        configuration=configuration_dict(context.run.config),
        configuration_hash=provenance.configuration_hash,
        software=provenance.software,
        kernel=_kernel_summary(difference),
        quality=_quality(difference),
    )


def _kernel_summary(difference: DifferenceImage) -> KernelSummary:
    q = difference.quality
    return KernelSummary(
        convolved=difference.convolved,
        half_width=q.kernel_half_width,
        basis_functions=q.kernel_basis_functions,
        spatial_order=q.kernel_spatial_order,
        sum=q.kernel_sum,
        sum_variation=q.kernel_sum_variation,
        stars=q.kernel_stars,
        stars_rejected=q.kernel_stars_rejected,
        chi2=_number(q.kernel_chi2),
    )


def _quality(difference: DifferenceImage) -> Quality:
    q = difference.quality
    return Quality(
        coverage=q.coverage,
        masked_fraction=q.masked_fraction,
        science_fwhm=_number(q.science_fwhm),
        template_fwhm=_number(q.template_fwhm),
        template_to_science_noise=_number(q.template_to_science_noise),
        pull_rms=_number(q.pull_rms),
        matched_filter_sn_std=_number(q.matched_filter_sn_std),
        lag1_autocorrelation=_number(q.lag1_autocorrelation),
        bright_pull_ratio=_number(q.bright_pull_ratio),
        star_detection_fraction=_number(q.star_detection_fraction),
        kernel_chi2_p90_ratio=_number(q.kernel_chi2_p90_ratio),
        detections_positive=q.detections_positive,
        detections_negative=q.detections_negative,
    )


def _number(value: float) -> float | None:
    # JSON has no NaN: what could not be measured is absent.
    return float(value) if math.isfinite(value) else None


def _finite(numbers: object) -> dict[str, float]:
    assert isinstance(numbers, dict)
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
