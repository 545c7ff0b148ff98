"""Events from files: the arrival of a visit image, the registration of a template."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypedDict, Unpack

from lsst.resources import ResourcePath

from residua.errors import UnusableImageError
from residua.extras import require_for
from residua.identity import template_dataset_id
from residua.instruments import InstrumentRegistry
from residua.instruments.filter_names import is_of_one_camera
from residua.instruments.model import Filter, Instrument
from residua.ports import facts_of
from residua.storage.forms.wcs import footprint, pixel_scale
from residua.storage.objects import read_object
from residua.storage.read.file_contents import ReadOptions
from residua.storage.read.metadata import FileMetadata, with_defaults
from residua.storage.read.opened import ImageFile
from residua.storage.read.readers import open_image
from residua_schemas import ImageReading, TemplateCoadd, VisitArrival, VisitDetector

__all__ = [
    "HowToIdentify",
    "HowToRead",
    "OpenedFile",
    "describe_template",
    "describe_visit_image",
    "open_file",
    "split_extension",
]

_UNKNOWN_SKYMAP = "files"


class HowToRead(TypedDict, total=False):
    """What is said of how to read a file; what is left out, the file itself must say.

    Attributes
    ----------
    instruments
        Known instruments; default: the shipped ones.
    zero_point
        AB magnitude of one unit of the image, for files that do not say.
    reading
        How the file is to be read, where it does not say so itself.
    band
        Its band, when the file names none (or a wrong one).
    companions
        Contents of the files that lie beside it, by their role, where they are at hand.
    """

    instruments: InstrumentRegistry | None
    zero_point: float | None
    reading: ImageReading | None
    band: str | None
    companions: Mapping[str, bytes] | None


class HowToIdentify(HowToRead, total=False):
    """What is said of how to read a visit image.

    Attributes
    ----------
    visit_from, detector_from
        Cards to take visit and detector from; see `residua.storage.conventions.file_identity`.
    """

    visit_from: str | None
    detector_from: str | None


def describe_visit_image(
    uri: str, *, opened: "OpenedFile | None" = None, **how: Unpack[HowToIdentify]
) -> VisitArrival:
    """Build the arrival event of a visit image from the file itself; no pixel is decoded.

    Parameters
    ----------
    uri
        Path or URI of the file; ``file.fits[N4]`` names one of its extensions.
    opened
        The file, if it has been opened already, in the same way.
    how
        How the file is to be read: see `HowToIdentify`.

    Returns
    -------
    arrival
        With checksum and footprint. A file that states no visit gets one derived from its name
        and the start of its exposure: the same file, the same number.

    Raises
    ------
    residua.errors.ResiduaError
        Missing, damaged, or of no use; the message names the remedy.
    """
    opened = opened or open_file(uri, **how)
    file = opened.file
    found = with_defaults(file.metadata, opened.label)
    if found.problem is not None:
        raise UnusableImageError(f"{opened.label}: {found.problem}")
    chosen = how.get("band") or found.band
    assert chosen is not None
    facts = facts_of(found, VisitArrival.model_fields)
    facts |= {"band": chosen, "target_name": (found.target_name or "")[:32] or None}
    return VisitArrival(
        visit_detector=VisitDetector(**facts_of(found, VisitDetector.model_fields)),
        **facts,
        image_uri=_uri(opened.location),
        image_checksum=opened.checksum,
        region=footprint(file.wcs, file.shape),
        reading=opened.reading,
    )


def describe_template(
    uri: str,
    template_set: str = "default",
    *,
    default_band: str | None = None,
    skymap: str | None = None,
    tract: int | None = None,
    patch: int | None = None,
    opened: "OpenedFile | None" = None,
    **how: Unpack[HowToRead],
) -> TemplateCoadd:
    """Build the event that registers a template from the file itself; no pixel is decoded.

    Tract and patch come from the file's metadata, else from a name such as
    ``template_coadd_9813_42_r``, else from the arguments, else are derived from the name, so that
    different files are different templates.

    Parameters
    ----------
    uri
        Path or URI of the file; ``file.fits[N4]`` names one of its extensions.
    template_set
        Set of templates it joins.
    default_band
        Its band, when the file names none.
    skymap, tract, patch
        What it is a patch of, when the file does not say.
    opened
        The file, if it has been opened already, in the same way.
    how
        How the file is to be read: see `HowToRead`. With a band that is given, its filter goes
        with every filter of the band.

    Raises
    ------
    residua.errors.UnusableImageError
        No band is known.
    residua.errors.ResiduaError
        Missing, damaged, or of no use; the message names the remedy.
    """
    opened = opened or open_file(uri, **how)
    band = how.get("band")
    file, found = opened.file, opened.file.metadata
    chosen = band or found.band or default_band
    if chosen is None:
        raise UnusableImageError(f"{opened.label} names no band: give one (--band)")
    place = _place(opened.label, found, tract, patch)
    name = found.skymap or skymap or _UNKNOWN_SKYMAP
    key = f"{template_set}/{chosen}/{name}/{place[0]}/{place[1]}".encode()
    scale = pixel_scale(file.wcs, file.shape)
    instrument, passband = _origin(found, how.get("instruments") or InstrumentRegistry())
    return TemplateCoadd(
        dataset_id=template_dataset_id(key),
        template_set=template_set,
        skymap=name,
        tract=place[0],
        patch=place[1],
        band=chosen,
        physical_filter=None if band else found.physical_filter,
        uri=_uri(opened.location),
        checksum=opened.checksum,
        size_bytes=opened.size_bytes,
        region=footprint(file.wcs, file.shape),
        shape=file.shape,
        pixel_scale=scale,
        unit=file.calibration.unit,
        reading=opened.reading,
        psf_fwhm=None if file.psf is None else file.psf.fwhm() * scale,
        instrument=instrument.name if instrument else None,
        facility_name=instrument.facility_name if instrument else None,
        em_min=passband.em_min if passband and not band else None,
        em_max=passband.em_max if passband and not band else None,
    )


def _origin(
    found: FileMetadata, instruments: InstrumentRegistry
) -> tuple[Instrument | None, Filter | None]:
    """Return the instrument a coadd names, or the only one with its filter, and that filter."""
    named = found.physical_filter is not None and is_of_one_camera(found.physical_filter)
    described = [i for i in instruments if found.instrument == i.name]
    if found.instrument is None and named:
        described = list(instruments)
    pairs = [
        (instrument, filter_)
        for instrument in described
        for filter_ in instrument.filters
        if filter_.physical_filter == found.physical_filter
    ]
    if len(pairs) == 1:
        return pairs[0]
    if found.instrument is not None and len(described) == 1:
        return described[0], None
    return None, None


@dataclass(frozen=True)
class OpenedFile:
    """A file whose headers have been read, and where it lies.

    Parameters
    ----------
    file
        What its headers say.
    label
        Its URI, with the extension where one was chosen.
    location, checksum, content
        Of its bytes, and these.
    reading
        What was said of how to read it.
    """

    file: ImageFile
    label: str
    location: ResourcePath
    checksum: str
    content: bytes
    reading: ImageReading | None

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return len(self.content)


def open_file(uri: str, **how: Unpack[HowToIdentify]) -> OpenedFile:
    """Read the headers of a file, as `HowToIdentify` tells."""
    uri, extension = split_extension(uri)
    reading = how.get("reading")
    if extension is not None:
        reading = (reading or ImageReading()).model_copy(update={"extension": extension})
    require_for(uri)
    location = ResourcePath(uri, forceAbsolute=True)
    content, checksum = read_object(location, None)
    options = ReadOptions(
        zero_point=how.get("zero_point"),
        visit_from=how.get("visit_from"),
        detector_from=how.get("detector_from"),
        band=how.get("band"),
    ).as_read(reading)
    label = uri if options.extension is None else f"{uri}[{options.extension}]"
    known = how.get("instruments") or InstrumentRegistry()
    file = open_image(content, label, known, options, how.get("companions"))
    return OpenedFile(file, label, location, checksum, content, reading)


def split_extension(uri: str) -> tuple[str, str | None]:
    """Return a URI and the extension it names: ``file.fits[N4]`` is N4 of ``file.fits``."""
    match = re.fullmatch(r"(.+\.(?:fits?|fts|fz|gz))\[([^\[\]]+)\]", uri, re.IGNORECASE)
    return (match[1], match[2]) if match else (uri, None)


def _place(uri: str, found: FileMetadata, tract: int | None, patch: int | None) -> tuple[int, int]:
    if found.tract is not None and found.patch is not None:
        return found.tract, found.patch
    stem = PurePosixPath(uri).name.split(".", 1)[0]
    match = re.search(r"(?:^|_)(\d{1,6})_(\d{1,4})(?:_|$)", stem)
    if match is not None and re.search("coadd|template|tract", stem, re.IGNORECASE):
        return int(match[1]), int(match[2])
    digest = hashlib.sha256(PurePosixPath(uri).name.encode()).hexdigest()
    known_tract = tract if tract is not None else found.tract
    return (
        known_tract if known_tract is not None else int(digest[:7], 16),
        patch if patch is not None else (found.patch if found.patch is not None else 0),
    )


def _uri(location: ResourcePath) -> str:
    return str(location.geturl())
