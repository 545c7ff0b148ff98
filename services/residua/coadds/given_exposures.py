"""What was given to make a template of: each exposure as it is read, judged and compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from residua.coadds.exposures import Exposure, seeing
from residua.errors import FilterMismatchError, ResiduaError, UnusableImageError
from residua.instruments.filter_names import same_filter
from residua.storage.describe import OpenedFile
from residua.storage.objects import read_object, resolve
from residua.storage.read.file_contents import FileContents
from residua.subtraction.images import ScienceImage
from residua_schemas import ImageReading

__all__ = [
    "ExposureFacts",
    "Input",
    "check_alike",
    "companions_of",
    "exposure_of",
    "left_out",
    "measured",
    "too_few",
]


@dataclass(frozen=True)
class Input:
    """One exposure that was given.

    Parameters
    ----------
    uri, checksum
        Of its file.
    fwhm
        Of its PSF, arcsec.
    weight, scale, clipped
        Its part in the mean; what its fluxes were multiplied with; fraction of its pixels left out
        as outliers. 0 where it was not used.
    refused
        Why it was left out; empty if it was not.
    """

    uri: str
    checksum: str
    fwhm: float = float("nan")
    weight: float = 0.0
    scale: float = float("nan")
    clipped: float = 0.0
    refused: str = ""

    @property
    def name(self) -> str:
        """Name of its file, without its folders."""
        return self.uri.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class ExposureFacts:
    """What the headers of an exposure say that must agree, or that goes into the template's.

    Parameters
    ----------
    unit
        Of its pixels.
    band, physical_filter, instrument, exposure_time
        As far as they are known; seconds.
    begin
        TAI, ISO 8601; empty if unknown.
    """

    unit: str
    band: str | None
    physical_filter: str | None
    instrument: str | None
    exposure_time: float | None
    begin: str

    @classmethod
    def of(cls, opened: OpenedFile, contents: FileContents) -> "ExposureFacts":
        """Take the facts of an opened file, and the unit of its decoded pixels."""
        found = opened.file.metadata
        begin = "" if found.begin_tai is None else found.begin_tai.isoformat()
        return cls(
            contents.unit,
            found.band,
            found.physical_filter,
            found.instrument,
            found.exposure_time,
            begin,
        )


def companions_of(reading: ImageReading | None) -> dict[str, bytes]:
    """Read the files that lie beside an image, by their part in it."""
    beside = {} if reading is None else reading.companions
    return {
        role: read_object(resolve(uri, [uri.rpartition("/")[0]]), None)[0]
        for role, (uri, _) in beside.items()
    }


def exposure_of(name: str, contents: FileContents) -> Exposure:
    """Make decoded pixels an exposure to be matched."""
    image = ScienceImage(
        contents.image,
        contents.variance,
        contents.mask,
        contents.wcs,
        contents.psf,
        contents.unit,
    )
    return Exposure(name, image)


def measured(opened: OpenedFile, contents: FileContents, widest: float | None) -> Input:
    """Measure the seeing of an exposure; one wider than ``widest``, arcsec, is left out."""
    found = Input(str(opened.location.geturl()), opened.checksum)
    try:
        fwhm = seeing(exposure_of(opened.label, contents))
    except ResiduaError as e:
        return left_out(found, e.message)
    found = Input(found.uri, found.checksum, fwhm)
    if widest is not None and fwhm > widest:
        return left_out(found, f"its PSF of {fwhm:.2f} arcsec is wider than {widest:g} arcsec")
    return found


def left_out(found: Input, why: str) -> Input:
    """Leave an exposure out, and say why."""
    return Input(found.uri, found.checksum, found.fwhm, refused=why)


def too_few(inputs: Sequence[Input], reference: str | None = None) -> UnusableImageError:
    """Say how many exposures are left, and why the others are not."""
    reasons = "; ".join(f"{i.name}: {i.refused}" for i in inputs if i.refused)
    usable = sum(not i.refused for i in inputs)
    return UnusableImageError(
        f"a template needs two exposures or more, {usable} of {len(inputs)} can be used"
        + (f" with {reference} as the reference" if reference else "")
        + (f": {reasons}" if reasons else ""),
        given=len(inputs),
        usable=usable,
    )


def check_alike(files: Sequence[str], facts: Sequence[ExposureFacts], band: str | None) -> None:
    """Refuse exposures of different units, or of different filters unless their band is given.

    Raises
    ------
    UnusableImageError
        They have no unit in common, or name no band.
    FilterMismatchError
        They were taken through different filters.
    """
    units = {f.unit for f in facts}
    if len(units) > 1:
        which = ", ".join(f"{n} in {f.unit}" for n, f in zip(files, facts, strict=True))
        raise UnusableImageError(
            f"the exposures have no unit in common ({which}); give the zero point of those that "
            "state none (--zero-point)"
        )
    if band is not None:
        return
    first = facts[0]
    for name, other in zip(files, facts, strict=True):
        same = other.band == first.band and same_filter(
            first.physical_filter, other.physical_filter, first.band or ""
        )
        if not same:
            raise FilterMismatchError(
                f"{name} was taken through {other.physical_filter or other.band!r}, {files[0]} "
                f"through {first.physical_filter or first.band!r}; if they may be averaged, give "
                "their band (--band)",
                templates=len(files),
                coverage=0.0,
            )
    if first.band is None:
        raise UnusableImageError(f"{files[0]} names no band: give one (--band)")
