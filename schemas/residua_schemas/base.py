"""What all contracts share: immutability, the schema version, sky regions and units of time."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, override

from pydantic import BaseModel, ConfigDict, Field, NaiveDatetime, WithJsonSchema, field_validator

__all__ = ["SCHEMA_VERSION", "TEXT_PATTERN", "Checksum", "Contract", "Event", "SkyPolygon", "Tai"]

SCHEMA_VERSION = "1.7"
"""Version of all contracts, major.minor; a minor step only adds optional fields."""

TEXT_PATTERN = "^[^\x00-\x1f\x7f-\x9f\ufffe\uffff]*$"
"""Texts from outside: any alphabet, no control characters, nothing that XML cannot hold."""

type Tai = Annotated[
    NaiveDatetime,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?$",
            "description": "TAI, ISO 8601 without an offset.",
            "examples": ["2026-11-22T03:04:05.250000"],
        }
    ),
]
"""A time in TAI, written ISO 8601 without an offset: ``2026-11-22T03:04:05.250``."""

type Checksum = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:`` and 64 hexadecimal digits of the file's bytes."""


class Contract(BaseModel):
    """An immutable part of an event.

    Fields this version does not know are ignored, so that a producer may run ahead of its
    consumers by additive versions.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Event(Contract):
    """An event body: the JSON value of a Kafka record."""

    ce_type: ClassVar[str]
    """CloudEvents type of this event, with the major version."""

    schema_version: str = Field(
        SCHEMA_VERSION,
        pattern=r"^1\.\d+$",
        description="Version of this contract, major.minor; a minor step only adds fields.",
    )


class SkyPolygon(Contract):
    """A convex polygon on the sky, ICRS, its edges great circles."""

    vertices: tuple[tuple[float, float], ...] = Field(
        min_length=3,
        max_length=64,
        description="Corners as (right ascension, declination), ICRS, degrees, in order.",
        examples=[[[53.1, -28.1], [53.3, -28.1], [53.3, -27.9], [53.1, -27.9]]],
    )

    @field_validator("vertices")
    @classmethod
    def _on_the_sphere(
        cls, vertices: tuple[tuple[float, float], ...]
    ) -> tuple[tuple[float, float], ...]:
        inside = True
        for ra, dec in vertices:
            if not (math.isfinite(ra) and -90.0 <= dec <= 90.0):
                raise ValueError(f"({ra}, {dec}) is not a position in ICRS degrees")
            inside &= 0.0 < ra < 360.0
        if inside:
            return vertices
        return tuple([(ra % 360.0, dec) for ra, dec in vertices])

    # Ten times as fast as pydantic's: footprints are keys of caches.
    @override
    def __hash__(self) -> int:
        return hash(self.vertices)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, SkyPolygon) and self.vertices == other.vertices

    @property
    def s_region(self) -> str:
        """The polygon as an ObsCore ``s_region`` (STC-S), 6 decimals (3.6 mas)."""
        corners = " ".join([f"{ra:.6f} {dec:.6f}" for ra, dec in self.vertices])
        return f"POLYGON ICRS {corners}"

    @property
    def center(self) -> tuple[float, float]:
        """Direction of the mean of the vertices: (right ascension, declination), degrees."""
        return _mean_direction(_unit_vectors(self.vertices))

    @property
    def radius(self) -> float:
        """Largest distance of a vertex from `center`, degrees."""
        return self.bounding_circle[1]

    @property
    def bounding_circle(self) -> tuple[tuple[float, float], float]:
        """`center` and `radius`, at the cost of one of them."""
        vectors = _unit_vectors(self.vertices)
        position = _mean_direction(vectors)
        [center] = _unit_vectors([position])
        chord = max([math.dist(center, v) for v in vectors])
        return position, math.degrees(2.0 * math.asin(min(1.0, chord / 2.0)))


def _mean_direction(vectors: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    x, y, z = map(sum, zip(*vectors, strict=True))
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def _unit_vectors(positions: Iterable[tuple[float, float]]) -> list[tuple[float, float, float]]:
    # In one loop, and names looked up once: a catalog does this for each image.
    radians, cos, sin = math.radians, math.cos, math.sin
    found = []
    for ra, dec in positions:
        angle, height = radians(ra), radians(dec)
        across = cos(height)
        found.append((across * cos(angle), across * sin(angle), sin(height)))
    return found
