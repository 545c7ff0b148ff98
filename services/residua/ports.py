"""What the use case needs from the world, as protocols, and the values that cross them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from residua_schemas import (
    DetectionsReference,
    ImageReading,
    ImageReference,
    SkyPolygon,
    SolutionReference,
    TemplateCoadd,
    TemplateReference,
    VisitArrival,
    Weather,
)

if TYPE_CHECKING:
    # At run time they would load numba and numpy into every service and command.
    from residua.subtraction.images import DifferenceImage, ScienceImage, TemplateImage
    from residua.subtraction.steps.solution import Solution

__all__ = [
    "OBSERVATION_FACTS",
    "ImageStore",
    "KeptSolution",
    "MadeDifferenceImage",
    "Observation",
    "Provenance",
    "SolutionShelf",
    "StoredDifferenceImage",
    "TemplateFile",
    "TemplateIndex",
    "TemplateReads",
    "VisitImage",
    "facts_of",
]


@dataclass(frozen=True)
class Observation:
    """What is known about one visit-detector: the arrival's word, else the file's.

    The one list of these facts: events, files and rows take them from here by name
    (`facts_of`), and a test tells which fact reaches which of them.

    Parameters
    ----------
    begin_tai, end_tai
        Naive datetimes, TAI.
    exposure_time
        Seconds.
    boresight
        (right ascension, declination) of the telescope's axis, ICRS, degrees.
    rotation_angle
        Position angle of the detector's y axis, degrees east of north.
    photometric_scaling
        nJy per unit of the file's pixels, already applied when the image is in nJy.
    native_unit
        Unit of the pixels as found in the file.
    """

    instrument: str
    visit: int
    detector: int
    day_obs: int
    band: str
    physical_filter: str
    facility_name: str
    target_name: str | None = None
    begin_tai: datetime | None = None
    end_tai: datetime | None = None
    exposure_time: float | None = None
    airmass: float | None = None
    weather: Weather | None = None
    boresight: tuple[float, float] | None = None
    rotation_angle: float | None = None
    photometric_scaling: float | None = None
    native_unit: str = "nJy"
    em_min: float | None = None
    em_max: float | None = None


OBSERVATION_FACTS = tuple(f.name for f in fields(Observation))


def facts_of(source: object, names: Iterable[str]) -> dict[str, Any]:
    """Return what ``source`` says of the facts of an observation that are among ``names``."""
    return {name: getattr(source, name) for name in names if name in OBSERVATION_FACTS}


@dataclass(frozen=True)
class VisitImage:
    """A visit image as read: pixels, observation, and where it came from.

    Parameters
    ----------
    region
        Footprint of the pixel grid, ICRS.
    pixel_scale
        At the centre, arcsec.
    size_bytes
        Size of the file.
    """

    image: "ScienceImage"
    observation: Observation
    reference: ImageReference
    region: SkyPolygon
    pixel_scale: float
    size_bytes: int = 0


@dataclass(frozen=True)
class Provenance:
    """What a difference image was made of, and by what."""

    dataset_id: str
    run: str
    obs_publisher_did: str
    visit_image: ImageReference
    templates: Sequence[TemplateReference]
    template_set: str
    configuration_hash: str
    software: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredDifferenceImage:
    """Where a difference image was written.

    Parameters
    ----------
    names
        What its header calls the files it was made of, by URI.
    store
        How long the file is kept, see `residua_schemas.DifferenceImageCreated`; with ``"none"``
        it is not there.
    """

    uri: str
    checksum: str
    size_bytes: int
    preview_uri: str | None
    detections: DetectionsReference | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    store: Literal["recent", "none"] | None = None


@dataclass(frozen=True)
class MadeDifferenceImage:
    """A difference image in the store, and all that is known about it."""

    visit_image: VisitImage
    difference: "DifferenceImage"
    provenance: Provenance
    stored: StoredDifferenceImage
    solution: SolutionReference | None = None


@dataclass(frozen=True)
class TemplateReads:
    """Where templates came from when a subtraction asked for them.

    Parameters
    ----------
    store
        Read from the store then.
    memory
        Kept from an earlier subtraction.
    ahead
        Read before any subtraction asked, because a visit was announced; counted at first use.
    """

    store: int = 0
    memory: int = 0
    ahead: int = 0

    def __sub__(self, earlier: "TemplateReads") -> "TemplateReads":
        return TemplateReads(
            self.store - earlier.store, self.memory - earlier.memory, self.ahead - earlier.ahead
        )


class TemplateFile(Protocol):
    """What of a template must be known to read it; a `residua_schemas.TemplateCoadd` is one."""

    @property
    def uri(self) -> str:
        """Where the file is."""
        ...

    @property
    def checksum(self) -> str:
        """``sha256:...`` of its bytes."""
        ...

    @property
    def band(self) -> str:
        """Name of its band."""
        ...

    @property
    def reading(self) -> ImageReading | None:
        """How it is to be read, where the file does not say so itself."""
        ...


@dataclass(frozen=True)
class KeptSolution:
    """A solution that stands in the store: the first that was put there."""

    solution: "Solution"
    reference: SolutionReference


class SolutionShelf(Protocol):
    """Keeps the solution of a subtraction, once and for ever.

    Raises
    ------
    TransientError
        The store does not answer.
    """

    def find(self, name: str) -> KeptSolution | None:
        """Return the solution of a name, if there is one that can be read."""
        ...

    def keep(self, name: str, solution: "Solution") -> KeptSolution:
        """Put a solution, or find that another was first: whichever stands there is returned."""
        ...


class ImageStore(Protocol):
    """Reads inputs and writes difference images; every URI is checked against the roots.

    Raises
    ------
    ResiduaError
        Wrong input; ends as a failed outcome.
    TransientError
        The store does not answer.
    """

    def read_visit_image(self, arrival: VisitArrival) -> VisitImage:
        """Read the visit image an arrival names, calibrated to nJy if it can be."""
        ...

    def region_of(self, arrival: VisitArrival) -> SkyPolygon:
        """Footprint of the visit image an arrival names, as its file says."""
        ...

    def read_template(self, template: TemplateFile) -> "TemplateImage":
        """Read a template coadd, calibrated to nJy if it can be."""
        ...

    def write_difference_image(
        self,
        name: Callable[[str], str],
        difference: "DifferenceImage",
        visit_image: VisitImage,
        provenance: Provenance,
        announce: Callable[[StoredDifferenceImage], None] | None = None,
    ) -> StoredDifferenceImage:
        """Write FITS and preview; same input, same bytes.

        ``name`` makes the path under the output root from the file's checksum; its last part may
        depend on the checksum, its folder must not. The file appears under its name whole or
        not at all. ``announce`` is called when nothing is left to do but to put it in place.
        """
        ...


class TemplateIndex(Protocol):
    """The template coadds in force."""

    def candidates(self, band: str, region: SkyPolygon | None) -> Sequence[TemplateCoadd]:
        """Templates of the band that may overlap the region (all of the band for `None`).

        The order does not depend on the order of arrival.
        """
        ...

    def count(self, band: str) -> int:
        """Count the templates of the band."""
        ...
