"""Next visits: the optional event that says where the telescope will look."""

import math
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from residua_schemas.base import TEXT_PATTERN, Event, SkyPolygon, Tai

__all__ = ["NextVisit", "position_on_sky"]


class NextVisit(Event):
    """A visit is about to be taken: workers fetch its templates before its pixels arrive.

    Optional: nothing depends on it, and it never becomes an outcome. Footprints are those of the
    detectors named; one announcement a detector lets each worker fetch what it alone will need.
    """

    ce_type: ClassVar[str] = "org.residua.next-visit.v1"

    instrument: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="Instrument name as in Butler.",
        examples=["LSSTComCam"],
    )
    visit: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="Visit number, when it is known before the exposure.",
        examples=[2026112200123],
    )
    detectors: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        (),
        max_length=1024,
        description="Detector numbers it is about; none given: all of the instrument.",
        examples=[[4]],
    )
    group: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        pattern=TEXT_PATTERN,
        description="Observatory's own name of the group of exposures, as Rubin's `groupId`: what "
        "joins the announcement to the arrivals, whose visit number is not known before.",
        examples=["2026-11-22T03:04:05.678"],
    )
    band: str = Field(pattern=r"^[A-Za-z0-9_+-]{1,10}$", description="Band name.", examples=["r"])
    region: SkyPolygon | None = Field(
        None, description="Footprint of the detectors, ICRS; or give pointing and field."
    )
    pointing: tuple[float, float] | None = Field(
        None,
        description="Centre of the detectors' field as (right ascension, declination), ICRS, "
        "degrees.",
        examples=[[53.2, -28.1]],
    )
    field: tuple[float, float] | None = Field(
        None,
        description="Width and height of that field (along the detector's x and y axes), degrees.",
        examples=[[0.23, 0.22]],
    )
    rotation_angle: float = Field(
        0.0, description="Position angle of the detector's y axis, degrees east of north."
    )
    day_obs: int | None = Field(
        None, ge=19000101, le=99991231, description="Observing day, YYYYMMDD.", examples=[20261122]
    )
    begin_tai: Tai | None = Field(None, description="When the exposure shall begin, TAI.")
    exposure_time: float | None = Field(None, ge=0, description="Planned exposure time, seconds.")
    physical_filter: str | None = Field(
        None, max_length=32, pattern=TEXT_PATTERN, description="Physical filter."
    )
    target_name: str | None = Field(
        None, max_length=32, pattern=TEXT_PATTERN, description="Name of the target or field."
    )

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.region is None:
            if self.pointing is None or self.field is None:
                raise ValueError("give region, or pointing and field")
            if abs(self.pointing[1]) > 90.0:
                raise ValueError(f"pointing {self.pointing} is not a position in ICRS degrees")
            if not all(0.0 < side <= 60.0 for side in self.field):
                raise ValueError(f"field {self.field} must lie between 0 and 60 degrees")
        return self

    @property
    def key(self) -> bytes:
        """Key of the Kafka record: the instrument, and the visit when it is known."""
        name = self.instrument if self.visit is None else f"{self.instrument}/{self.visit}"
        return name.encode()

    @property
    def footprint(self) -> SkyPolygon:
        """Where the detectors will look: `region`, or the rotated rectangle around `pointing`."""
        if self.region is not None:
            return self.region
        assert self.pointing is not None
        assert self.field is not None
        half_width, half_height = (math.tan(math.radians(side / 2.0)) for side in self.field)
        corners = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
        return SkyPolygon(
            vertices=tuple(
                position_on_sky(self.pointing, self.rotation_angle, x * half_width, y * half_height)
                for x, y in corners
            )
        )


def position_on_sky(
    center: tuple[float, float], rotation: float, x: float, y: float
) -> tuple[float, float]:
    """Position of a point of the tangent plane.

    Parameters
    ----------
    center
        Where the plane touches: right ascension and declination, degrees.
    rotation
        Position angle of y, degrees from north to east; x points west of y.
    x, y
        In the plane, as tangents of angles.

    Returns
    -------
    position
        Right ascension and declination, degrees.
    """
    ra, dec, angle = (math.radians(value) for value in (*center, rotation))
    # On the sky seen from inside, east lies to the left of north: x points west of y.
    east = y * math.sin(angle) - x * math.cos(angle)
    north = y * math.cos(angle) + x * math.sin(angle)
    along = math.cos(dec) - north * math.sin(dec)
    longitude = ra + math.atan2(east, along)
    latitude = math.atan2(math.sin(dec) + north * math.cos(dec), math.hypot(along, east))
    return math.degrees(longitude) % 360.0, math.degrees(latitude)
