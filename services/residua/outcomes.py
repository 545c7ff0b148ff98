"""Outcome events from what a subtraction came to: pure, and the same for the same input."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from residua.errors import NoTemplateError, ResiduaError
from residua.identity import configuration_dict, dataset_id
from residua.ports import MadeDifferenceImage, StoredDifferenceImage, VisitImage, facts_of
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientCoverageError
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    ImageReference,
    KernelSummary,
    Quality,
    QualityFlag,
    Responsible,
    VisitArrival,
    VisitImageMetadata,
)

if TYPE_CHECKING:
    from residua.subtraction.images import DifferenceImage, PsfModel

__all__ = ["Outcome", "created", "failed", "skipped"]

type Outcome = DifferenceImageCreated | DifferenceImageSkipped | DifferenceImageFailed


def failed(
    arrival: VisitArrival,
    run: str,
    error: ResiduaError,
    responsible: Responsible,
    visit_image: VisitImage | None = None,
    number: int = 0,
) -> DifferenceImageFailed:
    """Build the failed outcome of an arrival whose processing raised ``error``."""
    return DifferenceImageFailed(
        dataset_id=dataset_id(run, arrival.visit_detector),
        run=run,
        visit_detector=arrival.visit_detector,
        revision=number,
        arrival=arrival,
        error=type(error).__name__,
        visit_image_metadata=_metadata(visit_image),
        responsible=responsible,
        message=error.message,
        numbers=_finite(error.numbers),
    )


def skipped(
    arrival: VisitArrival,
    run: str,
    reason: Literal["no_template", "insufficient_coverage"],
    error: NoTemplateError | InsufficientCoverageError,
    visit_image: VisitImage | None = None,
    number: int = 0,
) -> DifferenceImageSkipped:
    """Build the skipped outcome of an arrival for which there is nothing to subtract."""
    return DifferenceImageSkipped(
        dataset_id=dataset_id(run, arrival.visit_detector),
        run=run,
        visit_detector=arrival.visit_detector,
        revision=number,
        arrival=arrival,
        visit_image_metadata=_metadata(visit_image),
        reason=reason,
        message=error.message,
        numbers=_finite(error.numbers),
    )


def created(
    arrival: VisitArrival,
    made: MadeDifferenceImage,
    run: str,
    config: SubtractionConfig,
    number: int = 0,
) -> DifferenceImageCreated:
    """Build the created outcome of an arrival whose difference image is in the store."""
    visit_image, difference = made.visit_image, made.difference
    provenance, stored = made.provenance, made.stored
    return DifferenceImageCreated(
        dataset_id=dataset_id(run, arrival.visit_detector),
        run=run,
        visit_detector=arrival.visit_detector,
        revision=number,
        arrival=arrival,
        visit_image_metadata=_metadata(visit_image, difference.science_psf),
        uri=stored.uri,
        checksum=stored.checksum,
        size_bytes=stored.size_bytes,
        preview_uri=stored.preview_uri,
        detections=stored.detections,
        solution=made.solution,
        obs_publisher_did=provenance.obs_publisher_did,
        **facts_of(visit_image.observation, DifferenceImageCreated.model_fields),
        unit=difference.unit,
        region=visit_image.region,
        shape=(difference.image.shape[0], difference.image.shape[1]),
        pixel_scale=visit_image.pixel_scale,
        psf_fwhm=difference.psf.fwhm() * visit_image.pixel_scale,
        store=stored.store,
        visit_image=_named(provenance.visit_image, stored),
        templates=tuple(_named(t, stored) for t in provenance.templates),
        template_set=provenance.template_set,
        configuration=configuration_dict(config),
        configuration_hash=provenance.configuration_hash,
        software=provenance.software,
        kernel=_kernel_summary(difference),
        quality=_quality(difference),
    )


def _named[R: ImageReference](reference: R, stored: StoredDifferenceImage) -> R:
    name = reference.name or stored.names.get(reference.uri)
    return reference if name is None else reference.model_copy(update={"name": name})


def _metadata(
    visit_image: VisitImage | None, measured_psf: "PsfModel | None" = None
) -> VisitImageMetadata | None:
    if visit_image is None:
        return None
    image = visit_image.image
    psf = image.psf or measured_psf
    return VisitImageMetadata(
        uri=visit_image.reference.uri,
        checksum=visit_image.reference.checksum,
        size_bytes=visit_image.size_bytes,
        **facts_of(visit_image.observation, VisitImageMetadata.model_fields),
        unit=visit_image.observation.native_unit,
        region=visit_image.region,
        shape=(image.image.shape[0], image.image.shape[1]),
        pixel_scale=visit_image.pixel_scale,
        psf_fwhm=None if psf is None else psf.fwhm() * visit_image.pixel_scale,
    )


def _kernel_summary(difference: "DifferenceImage") -> KernelSummary:
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
        pieces=q.kernel_pieces or None,
    )


def _quality(difference: "DifferenceImage") -> Quality:
    # Field by field of the same name: what is added to the contract is filled by itself.
    q = difference.quality
    values = {name: _known(getattr(q, name)) for name in Quality.model_fields if name != "flags"}
    flags = tuple(QualityFlag(name=f.name, value=f.value, limit=f.limit) for f in q.flags)
    return Quality.model_validate({**values, "flags": flags})


def _known(value: float | bool) -> float | bool | None:
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | None:
    # JSON has no NaN: what could not be measured is absent.
    return float(value) if math.isfinite(value) else None


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
