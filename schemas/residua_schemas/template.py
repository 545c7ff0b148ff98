"""Template coadds: the event that makes one known to the workers."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from residua_schemas.base import TEXT_PATTERN, Checksum, Event, SkyPolygon
from residua_schemas.reading import ImageReading

__all__ = ["TemplateCoadd"]


class TemplateCoadd(Event):
    """One patch of a template coadd is available; a tombstone under its key withdraws it."""

    ce_type: ClassVar[str] = "org.residua.template-coadd.v1"

    dataset_id: UUID = Field(description="Identity of the coadd, a UUID derived from its place.")
    template_set: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="Name of the set of templates it belongs to; part of a run's identity.",
        examples=["dp1"],
    )
    skymap: str = Field(
        max_length=64,
        pattern=TEXT_PATTERN,
        description="Sky map name.",
        examples=["lsst_cells_v1"],
    )
    tract: int = Field(ge=0, description="Tract number.")
    patch: int = Field(ge=0, description="Patch number within the tract.")
    band: str = Field(pattern=r"^[A-Za-z0-9_+-]{1,10}$", description="Band name.", examples=["r"])
    physical_filter: str | None = Field(
        None,
        max_length=32,
        description="Physical filter; visits in another one of the band are not subtracted from "
        "it. Absent: goes with every filter of its band.",
        examples=["r_03"],
    )
    uri: str = Field(min_length=1, max_length=2048, description="Where the FITS file is.")
    checksum: Checksum
    size_bytes: int = Field(ge=0, description="Size of the file, bytes.")
    region: SkyPolygon = Field(description="Footprint, ICRS.")
    shape: tuple[int, int] = Field(description="Rows and columns (ny, nx), pixels.")
    pixel_scale: float = Field(gt=0, description="Pixel scale, arcsec.")
    unit: str = Field(description="Unit of the image plane.", examples=["nJy"])
    reading: ImageReading | None = Field(
        None, description="How the file is to be read, where it does not say so itself."
    )
    psf_fwhm: float | None = Field(None, gt=0, description="FWHM of the PSF, arcsec.")
    instrument: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="Instrument its images come from, where it is one.",
        examples=["LSSTCam"],
    )
    facility_name: str | None = Field(
        None, max_length=128, pattern=TEXT_PATTERN, description="Observatory and telescope."
    )
    em_min: float | None = Field(None, gt=0, description="Blue end of the band, m, vacuum.")
    em_max: float | None = Field(None, gt=0, description="Red end of the band, m, vacuum.")

    @property
    def key(self) -> bytes:
        """Key of the Kafka record; the newest record under a key is the template in force."""
        return f"{self.template_set}/{self.band}/{self.skymap}/{self.tract}/{self.patch}".encode()
