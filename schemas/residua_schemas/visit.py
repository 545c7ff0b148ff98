"""Visits: who they are, the event that says one has arrived, and what was read of its image."""

from typing import ClassVar, override

from pydantic import Field, model_validator

from residua_schemas.base import TEXT_PATTERN, Checksum, Contract, Event, SkyPolygon, Tai
from residua_schemas.reading import ImageReading

__all__ = ["ArrivalPlace", "VisitArrival", "VisitDetector", "VisitImageMetadata", "Weather"]


class VisitDetector(Contract):
    """The identity of one detector of one visit."""

    instrument: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="Instrument name as in Butler.",
        examples=["LSSTComCam"],
    )
    visit: int = Field(ge=0, lt=2**63, description="Visit number.", examples=[2026112200123])
    detector: int = Field(ge=0, lt=2**31, description="Detector number.", examples=[4])

    @override
    def __str__(self) -> str:
        return f"{self.instrument}/{self.visit}/{self.detector}"

    @property
    def key(self) -> bytes:
        """Key of every Kafka record about this visit-detector."""
        return str(self).encode()


class Weather(Contract):
    """Weather at the telescope during the visit; unknown values are absent."""

    temperature: float | None = Field(None, description="Air temperature, degrees Celsius.")
    pressure: float | None = Field(None, description="Air pressure, Pa.")
    relative_humidity: float | None = Field(None, description="Relative humidity, per cent.")


class VisitImageMetadata(Contract):
    """A visit image as it was read: all that its own ObsCore row needs.

    What the arrival says is believed over the file, as everywhere.
    """

    uri: str = Field(description="Where the file was read from.")
    checksum: Checksum
    size_bytes: int = Field(ge=0, description="Size of the file, bytes.")
    day_obs: int = Field(description="Observing day, YYYYMMDD.")
    band: str
    physical_filter: str
    facility_name: str = Field(description="Observatory and telescope.")
    target_name: str | None = None
    begin_tai: Tai | None = Field(None, description="Start of the exposure, TAI.")
    end_tai: Tai | None = Field(None, description="End of the exposure, TAI.")
    exposure_time: float | None = Field(None, description="Exposure time, seconds.")
    em_min: float | None = Field(None, description="Blue end of the band, m, vacuum.")
    em_max: float | None = Field(None, description="Red end of the band, m, vacuum.")
    unit: str = Field(description="Unit of the file's image plane.", examples=["nJy"])
    region: SkyPolygon = Field(description="Footprint of the detector, ICRS.")
    shape: tuple[int, int] = Field(description="Rows and columns (ny, nx), pixels.")
    pixel_scale: float = Field(description="Pixel scale at the centre, arcsec.")
    psf_fwhm: float | None = Field(None, description="FWHM of its PSF, arcsec, where known.")


class ArrivalPlace(Contract):
    """Where an arrival stands in the topic of arrivals: of equal revisions the later wins."""

    append_time_ms: int = Field(
        description="When the broker appended its first record, ms since 1970, UTC; 0 where the "
        "topic does not say (`message.timestamp.type` is not `LogAppendTime`)."
    )
    partition: int = Field(ge=0, description="Partition of that record.")
    offset: int = Field(ge=0, description="Offset of that record.")


class VisitArrival(Event):
    """The calibrated image of one visit-detector is in object storage: subtract it.

    Only the identity, the band and the URI are required. What is absent here is taken from
    the file's own metadata; what stands here is believed over the file.
    """

    ce_type: ClassVar[str] = "org.residua.visit-arrival.v1"

    visit_detector: VisitDetector
    band: str = Field(pattern=r"^[A-Za-z0-9_+-]{1,10}$", description="Band name.", examples=["r"])
    image_uri: str = Field(
        min_length=1,
        max_length=2048,
        description="Where the visit image is: file://, s3://, or a path under a configured root.",
        examples=["s3://visits/20261122/2026112200123/visit_image_4.fits"],
    )
    image_checksum: Checksum | None = Field(
        None, description="Checksum of the visit image; verified before use when given."
    )
    physical_filter: str | None = Field(
        None,
        max_length=32,
        pattern=TEXT_PATTERN,
        description="Physical filter.",
        examples=["r_03"],
    )
    day_obs: int | None = Field(
        None, ge=19000101, le=99991231, description="Observing day, YYYYMMDD.", examples=[20261122]
    )
    begin_tai: Tai | None = Field(None, description="Start of the exposure, TAI.")
    end_tai: Tai | None = Field(None, description="End of the exposure, TAI.")
    exposure_time: float | None = Field(None, ge=0, description="Exposure time, seconds.")
    airmass: float | None = Field(None, ge=1, description="Airmass at mid-exposure.")
    weather: Weather | None = None
    target_name: str | None = Field(
        None,
        max_length=32,
        pattern=TEXT_PATTERN,
        description="Name of the target or field: letters of any alphabet, no control characters.",
    )
    region: SkyPolygon | None = Field(
        None, description="Footprint of the detector, ICRS; lets templates be chosen early."
    )
    group: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        pattern=TEXT_PATTERN,
        description="Observatory's own name of the group of exposures, as Rubin's `groupId`: what "
        "joins the arrival to its announcement.",
        examples=["2026-11-22T03:04:05.678"],
    )
    reading: ImageReading | None = Field(
        None, description="How the file is to be read, where it does not say so itself."
    )
    revision: int = Field(
        0,
        ge=0,
        description="Raised by a producer whose image replaces an earlier one; the newest wins, "
        "of equal ones the one that arrived later.",
    )
    remake: int = Field(
        0,
        ge=0,
        description="Raised by `residua replay --force` to have an arrival made again; producers "
        "leave it alone.",
    )

    @model_validator(mode="after")
    def _times_in_order(self) -> "VisitArrival":
        if (
            self.begin_tai is not None
            and self.end_tai is not None
            and self.end_tai < self.begin_tai
        ):
            raise ValueError(f"end_tai {self.end_tai} lies before begin_tai {self.begin_tai}")
        return self
