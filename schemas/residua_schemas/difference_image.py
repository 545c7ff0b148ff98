"""Outcomes: what became of a visit-detector. Exactly one per run and revision."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, JsonValue, TypeAdapter

from residua_schemas.base import Checksum, Contract, Event, SkyPolygon, Tai
from residua_schemas.quality import KernelSummary, Quality
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
    content_checksum: Checksum | None = Field(
        None,
        description="Of the bytes at the arrival's URI, where neither the arrival nor "
        "`visit_image_metadata` says it: of a file that could not be used, or was not needed. "
        "Absent if it could not be read, and before 1.7.",
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
