"""Outcomes: what became of a visit-detector. Exactly one per run and revision."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter

from residua_schemas.base import Checksum, Contract, Event, SkyPolygon, Tai
from residua_schemas.reading import ImageReading
from residua_schemas.visit import (
    ArrivalPlace,
    VisitArrival,
    VisitDetector,
    VisitImageMetadata,
    Weather,
)

__all__ = [
    "DetectionsReference",
    "DifferenceImageCreated",
    "DifferenceImageFailed",
    "DifferenceImageOutcome",
    "DifferenceImageSkipped",
    "ImageReference",
    "KernelSummary",
    "Quality",
    "QualityFlag",
    "Responsible",
    "SolutionReference",
    "TemplateReference",
    "outcome_from_json",
]

type Responsible = Literal["producer", "operator", "residua"]
"""Who can mend it: who sent the event or wrote the file, who runs the service, or its makers."""


class ImageReference(Contract):
    """A file that was read."""

    uri: str = Field(description="Where the file was read from.")
    checksum: Checksum
    name: str | None = Field(
        None,
        description="What the header of the image made of it calls it: its path below its root. "
        "Absent before 1.4.",
    )


class TemplateReference(ImageReference):
    """A template coadd that was used."""

    dataset_id: UUID
    skymap: str
    tract: int
    patch: int
    reading: ImageReading | None = Field(
        None, description="How its file was read, where that does not say so itself."
    )


class DetectionsReference(ImageReference):
    """A table of detections that was written beside an image."""

    uri: str = Field(description="Where the Parquet file is.")
    size_bytes: int = Field(ge=0, description="Size of the file, bytes.")
    rows: int = Field(ge=0, description="Number of detections.")


class SolutionReference(ImageReference):
    """What was found out about a subtraction, kept: its image can be made of it again."""

    uri: str = Field(description="Where the solution is.")
    size_bytes: int = Field(ge=0, description="Size of the file, bytes.")


class KernelSummary(Contract):
    """The PSF-matching kernel in numbers."""

    convolved: Literal["template", "science"] = Field(description="The image that was convolved.")
    half_width: int = Field(description="Half width, pixels.")
    basis_functions: int = Field(description="Number of basis functions.")
    spatial_order: int = Field(description="Order of the spatial variation.")
    sum: float = Field(description="Sum at the detector's centre: the photometric scale.")
    sum_variation: float = Field(description="(max - min) / centre of the sum over the detector.")
    stars: int = Field(description="Stars in the fit.")
    stars_rejected: int = Field(description="Stars clipped from the fit.")
    chi2: float | None = Field(None, description="Median reduced chi^2 of the stamps.")
    pieces: int | None = Field(
        None,
        description="Pieces of the template, parted by its PSF's seams, with own kernels.",
    )


class QualityFlag(Contract):
    """One thing about a difference image that is not as it should be."""

    name: str = Field(
        description="What it is; mostly the field of the quality record that tells.",
        examples=["astrometric_shift"],
    )
    value: float = Field(description="Measured.")
    limit: float = Field(description="What it should not be beyond.")


class Quality(Contract):
    """How far the image can be trusted; absent values could not be measured."""

    coverage: float = Field(description="Fraction of usable pixels with template data.")
    masked_fraction: float = Field(description="Fraction of pixels with an unusable mask plane.")
    science_fwhm: float | None = Field(None, description="PSF FWHM of the visit image, pixels.")
    template_fwhm: float | None = Field(
        None, description="PSF FWHM of the warped template, pixels of the visit image."
    )
    template_to_science_noise: float | None = Field(
        None, description="Median of template over science variance, matched."
    )
    pull_rms: float | None = Field(None, description="rms of difference / sigma, free sky.")
    matched_filter_sn_std: float | None = Field(
        None, description="Standard deviation of the matched-filter S/N, free sky; 1 is honest."
    )
    lag1_autocorrelation: float | None = Field(
        None, description="Noise autocorrelation at one pixel, free sky."
    )
    bright_pull_ratio: float | None = Field(
        None, description="rms pull on bright template flux over that of the sky."
    )
    star_detection_fraction: float | None = Field(
        None, description="Fraction of the detections on bright template flux."
    )
    kernel_chi2_p90_ratio: float | None = Field(
        None, description="90th percentile over median of the kernel stamps' chi^2."
    )
    science_lag1_autocorrelation: float | None = Field(
        None,
        description="Noise autocorrelation at one pixel of the visit image itself; not 0 where it "
        "was resampled before, and then in the difference too.",
    )
    variance_scale: float | None = Field(
        None, description="Noise of a pixel over what the variances say, before any correction."
    )
    noise_lag1: float | None = Field(None, description="Autocorrelation of that noise at 1 pixel.")
    noise_excess: float | None = Field(
        None, description="What both add to the standard deviation of the matched-filter S/N."
    )
    noise_excess_error: float | None = Field(None, description="Error of that.")
    noise_corrected: bool | None = Field(
        None, description="Whether difference, variance and S/N take them into account."
    )
    registration_stars: int | None = Field(
        None, ge=0, description="Stars that agree with the shift found between the images."
    )
    registration_stars_offered: int | None = Field(
        None, ge=0, description="Stars measured in both images."
    )
    registration_offset_x: float | None = Field(
        None, description="Shift at the centre, pixels of the visit image; it was applied."
    )
    registration_offset_y: float | None = Field(None, description="The same along y.")
    registration_rms: float | None = Field(None, description="rms of the whole shift, pixels.")
    registration_maximum: float | None = Field(None, description="Its maximum, pixels.")
    registration_scale: float | None = Field(
        None, description="Correlation length of its smooth part, pixels; 0 where there is none."
    )
    detections_positive: int = Field(description="Peaks with S/N at or above the threshold.")
    detections_negative: int = Field(description="Peaks with S/N at or below minus the threshold.")
    stars_judged: int | None = Field(
        None, ge=0, description="Stars on which the residuals were measured."
    )
    relative_residual: float | None = Field(
        None, description="What is left of the stars, as a fraction of their own image."
    )
    relative_residual_low: float | None = Field(None, description="How much of that is certain.")
    flux_residual: float | None = Field(
        None, description="Median residual flux over flux of the stars."
    )
    flux_residual_error: float | None = Field(None, description="Error of that.")
    wing_residual: float | None = Field(
        None, description="The same at 1.5 to 3.5 FWHM from the stars."
    )
    wing_residual_error: float | None = Field(None, description="Error of that.")
    astrometric_shift: float | None = Field(
        None, description="Shift between the images that the stars' residuals show, pixels."
    )
    psf_width_residual: float | None = Field(
        None,
        description="Relative excess of the visit image's PSF width over the matched template's.",
    )
    psf_width_scatter: float | None = Field(None, description="Its scatter from star to star.")
    noise_ratio: float | None = Field(
        None, description="Robust standard deviation of difference / sigma, free sky."
    )
    sky_structure: float | None = Field(
        None, description="Robust standard deviation of the S/N on free sky over noise_ratio."
    )
    dipole_fraction: float | None = Field(
        None, description="Fraction of the detections beside one of the other sign."
    )
    limiting_flux: float | None = Field(
        None, description="PSF flux of a point source of 5 sigma, unit of the image."
    )
    limiting_magnitude: float | None = Field(
        None, description="The same as AB magnitude; absent unless the unit is nJy."
    )
    flags: tuple[QualityFlag, ...] | None = Field(
        None,
        description="What is not as it should be, by name and number; empty for a sound image, "
        "absent before 1.3.",
    )


class _Outcome(Event):
    ce_type: ClassVar[str] = "org.residua.difference-image.v1"

    dataset_id: UUID = Field(description="uuid5 of run, instrument, visit and detector.")
    run: str = Field(
        description="Configuration hash, template set and major version this outcome belongs to.",
        examples=["residua/0/dp1/3f2a9c51d0be"],
    )
    visit_detector: VisitDetector
    revision: int = Field(
        0,
        ge=0,
        description="Number of this outcome among those of its dataset: the highest wins, in "
        "whatever order they are read. Up to 1.2 the arrival's revision; that is in `arrival`.",
    )
    place: ArrivalPlace | None = Field(
        None, description="Where the arrival stands in its topic; absent before 1.3."
    )
    arrival: VisitArrival = Field(description="The arrival this is the outcome of, as received.")
    visit_image_metadata: VisitImageMetadata | None = Field(
        None,
        description="The visit image that was read; absent if it could not be, and before 1.2.",
    )

    @property
    def key(self) -> bytes:
        """Key of the Kafka record."""
        return self.visit_detector.key


class DifferenceImageCreated(_Outcome):
    """The difference image is in object storage; all that its ObsCore row needs is here."""

    outcome: Literal["created"] = "created"

    uri: str = Field(description="Where the FITS file is.")
    checksum: Checksum
    size_bytes: int = Field(ge=0, description="Size of the FITS file, bytes.")
    store: Literal["recent", "none"] | None = Field(
        None,
        description="How long the file is kept: until `residua expire` lets it go (recent), or not "
        "at all (none); it is made again then, with these very bytes, when somebody asks for it. "
        "Absent: for ever.",
    )
    preview_uri: str | None = Field(None, description="Where the preview PNG is.")
    detections: DetectionsReference | None = Field(
        None, description="The detections as a table; absent before 1.3."
    )
    solution: SolutionReference | None = Field(
        None,
        description="The solution this is the image of: with it and the inputs the image comes "
        "back without a fit, on another CPU too. Absent before 1.4.",
    )
    obs_publisher_did: str = Field(description="IVOA publisher dataset identifier.")

    day_obs: int = Field(description="Observing day, YYYYMMDD.")
    band: str
    physical_filter: str
    facility_name: str = Field(description="Observatory and telescope.")
    target_name: str | None = None
    begin_tai: Tai | None = Field(None, description="Start of the exposure, TAI.")
    end_tai: Tai | None = Field(None, description="End of the exposure, TAI.")
    exposure_time: float | None = Field(None, description="Exposure time, seconds.")
    airmass: float | None = None
    weather: Weather | None = None
    em_min: float | None = Field(None, description="Blue end of the band, m, vacuum.")
    em_max: float | None = Field(None, description="Red end of the band, m, vacuum.")

    unit: str = Field(description="Unit of the image plane; its square is the variance plane's.")
    region: SkyPolygon = Field(description="Footprint of the detector, ICRS.")
    shape: tuple[int, int] = Field(description="Rows and columns (ny, nx), pixels.")
    pixel_scale: float = Field(description="Pixel scale at the centre, arcsec.")
    psf_fwhm: float = Field(description="FWHM of the PSF of the difference image, arcsec.")

    visit_image: ImageReference
    templates: tuple[TemplateReference, ...]
    template_set: str
    configuration: dict[str, JsonValue] = Field(description="Configuration of the subtraction.")
    configuration_hash: str = Field(description="sha256 of the canonical JSON of `configuration`.")
    software: dict[str, str] = Field(description="Versions of what can change the pixels.")
    kernel: KernelSummary
    quality: Quality


class DifferenceImageSkipped(_Outcome):
    """There is legitimately nothing to subtract."""

    outcome: Literal["skipped"] = "skipped"
    reason: Literal["no_template", "insufficient_coverage"]
    message: str = Field(description="One sentence for a person.")
    numbers: dict[str, float] = Field(description="Measured values and limits, by name.")


class DifferenceImageFailed(_Outcome):
    """The difference image could not be made, or is too bad to publish."""

    outcome: Literal["failed"] = "failed"
    error: str = Field(description="Name of the error.", examples=["InsufficientKernelStarsError"])
    responsible: Responsible
    message: str = Field(description="One sentence for a person: what is wrong, and the remedy.")
    numbers: dict[str, float] = Field(description="Measured values and limits, by name.")


type DifferenceImageOutcome = Annotated[
    DifferenceImageCreated | DifferenceImageSkipped | DifferenceImageFailed,
    Field(discriminator="outcome"),
]

_adapter: TypeAdapter[DifferenceImageCreated | DifferenceImageSkipped | DifferenceImageFailed] = (
    TypeAdapter(DifferenceImageOutcome)
)


def outcome_from_json(
    value: bytes | str,
) -> DifferenceImageCreated | DifferenceImageSkipped | DifferenceImageFailed:
    """Read an outcome event; raises `pydantic.ValidationError`."""
    return _adapter.validate_json(value)
