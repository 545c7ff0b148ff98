"""What was understood of a file, and what was not: for people, and in the same words everywhere."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Unpack

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from residua.errors import ResiduaError
from residua.instruments import InstrumentRegistry
from residua.instruments.draft import draft_description
from residua.storage.conventions.file_identity import DETECTOR_CARDS, VISIT_CARDS
from residua.storage.describe import HowToIdentify, OpenedFile, open_file, split_extension
from residua.storage.forms.wcs import center, pixel_scale
from residua.storage.read.file_contents import FileContents, PixelReport
from residua.storage.read.header_metadata import metadata_from_header
from residua.storage.read.metadata import UNKNOWN_FACILITY, FileMetadata, with_defaults
from residua.storage.read.opened import ImageFile
from residua.storage.read.readers import refuse_too_large
from residua.subtraction.masks import MaskBit
from residua_schemas import ImageReading

__all__ = ["Row", "Understanding", "draft_from_file", "header_rows", "pixel_rows", "understand"]


@dataclass(frozen=True)
class Row:
    """One thing that was understood.

    Parameters
    ----------
    what, value
        In words.
    source
        The card or plane it comes from; empty where it was assumed or computed.
    """

    what: str
    value: str
    source: str = ""

    @property
    def line(self) -> str:
        """The row as a line of text."""
        return f"{self.what}: {self.value}" + (f" ({self.source})" if self.source else "")


@dataclass(frozen=True)
class Understanding:
    """All that was understood of a file.

    Parameters
    ----------
    file
        Its URI.
    rows
        What was understood.
    notes
        What was assumed, and what was found and not used.
    refused
        Why it cannot be used as a visit image; `None` if it can.
    """

    file: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str | None = None
    planes: dict[str, float] = field(default_factory=dict)


def understand(
    uri: str,
    *,
    pixels: bool = True,
    opened: OpenedFile | None = None,
    **how: Unpack[HowToIdentify],
) -> Understanding:
    """Open a file and tell what it means; a file that must be refused is told about as well.

    Parameters
    ----------
    uri
        Path or URI of the file.
    pixels
        Decode the pixels, for their noise and mask.
    opened
        The file, if it has been opened already, in the same way.
    how
        How it is to be read: see `residua.storage.describe.HowToIdentify`.
    """
    rows: list[Row] = []
    notes: list[str] = []
    try:
        opened = opened or open_file(uri, **how)
        rows.extend(header_rows(opened, how.get("band")))
        notes.extend(opened.file.notes)
        problem = opened.file.metadata.problem
        planes: dict[str, float] = {}
        if pixels:
            refuse_too_large(opened.file)
            contents = opened.file.decode()
            rows.extend(pixel_rows(contents.report, contents.unit))
            planes = _planes(contents)
            notes.extend(contents.report.notes)
    except ResiduaError as e:
        rows = rows or _bare_rows(uri, how.get("instruments") or InstrumentRegistry())
        return Understanding(uri, tuple(rows), tuple(dict.fromkeys(notes)), e.message)
    return Understanding(uri, tuple(rows), tuple(dict.fromkeys(notes)), problem, planes)


def header_rows(opened: OpenedFile, band: str | None = None) -> list[Row]:
    """Return what the headers of a file tell."""
    file = opened.file
    calibration = file.calibration
    zero = calibration.zero_point
    scaling = "none: pixels stay in their own unit (--zero-point)"
    if calibration.scaling is not None:
        scaling = f"1 unit = {calibration.scaling:.6g} nJy"
        scaling += "" if zero is None else f", AB zero point {zero:.4f}"
    return [
        Row("format", f"{file.kind}, {file.shape[1]} x {file.shape[0]} pixels"),
        *_metadata_rows(with_defaults(file.metadata, opened.label), band),
        Row("unit", calibration.native_unit),
        Row("flux scale", scaling, calibration.source),
        _wcs_row(file),
        Row("PSF", _psf(file)),
    ]


def _metadata_rows(found: FileMetadata, band: str | None) -> list[Row]:
    sources = found.sources
    physical = f", filter {found.physical_filter}" if found.physical_filter else ""
    exposure = "unknown" if found.exposure_time is None else f"{found.exposure_time:g} s"
    return [
        Row("instrument", f"{found.instrument}, {found.facility_name or UNKNOWN_FACILITY}"),
        Row("visit", str(found.visit), sources.get("visit", "")),
        Row("detector", str(found.detector), sources.get("detector", "")),
        Row("band", f"{band or found.band}{physical}", "" if band else sources.get("band", "")),
        Row("time", _utc(found.begin_tai), sources.get("begin_tai", "")),
        Row("exposure", exposure, sources.get("exposure_time", "")),
    ]


def _bare_rows(uri: str, instruments: InstrumentRegistry) -> list[Row]:
    # Of a file that cannot be opened as an image: what its cards say all the same.
    try:
        with fits.open(Path(split_extension(uri)[0])) as hdus, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = fits.Header()
            for hdu in hdus:
                header.extend(hdu.header.cards, unique=True)
            found = metadata_from_header(header, instruments)
    except (OSError, ValueError, TypeError, KeyError, ResiduaError):
        return []
    return _metadata_rows(with_defaults(found, uri), None)


def pixel_rows(report: PixelReport, unit: str) -> list[Row]:
    """Return what the pixels of a file tell."""
    rows = []
    if report.gain is not None:
        rows.append(Row("gain", f"{report.gain:g} electrons per unit", report.gain_source))
    if math.isfinite(report.predicted_noise):
        fits = "" if 0.5 <= report.noise_ratio <= 2.0 else ", which does not fit"
        predicted = f"{report.predicted_noise:.4g} {unit} predicted"
        measured = f"{report.measured_noise:.4g} measured{fits}"
        rows.append(Row("noise", f"{predicted}, {measured}", report.variance_source))
    elif report.variance_source:
        rows.append(Row("noise", "as its plane says", report.variance_source))
    if math.isfinite(report.sky):
        done = "subtracted" if report.sky_subtracted else "left"
        rows.append(Row("sky", f"{report.sky:.5g}, {done}"))
    if report.saturation:
        rows.append(Row("saturation", report.saturation))
    rows.append(Row("mask", report.mask_source or "none with the file"))
    return rows


def _planes(contents: FileContents) -> dict[str, float]:
    size = contents.mask.size
    fractions = {
        bit.name or str(bit.value): float(np.count_nonzero(contents.mask & np.int32(bit)) / size)
        for bit in MaskBit
    }
    return {name: fraction for name, fraction in fractions.items() if fraction > 0.0}


def _utc(begin: datetime | None) -> str:
    if begin is None:
        return "unknown"
    return str(Time(begin, scale="tai").utc.isot) + " UTC"


def _wcs_row(file: ImageFile) -> Row:
    ra, dec = center(file.wcs, file.shape)
    scale = pixel_scale(file.wcs, file.shape)
    kind = file.wcs.wcs.ctype[0] if isinstance(file.wcs, WCS) else "projection of the archive"
    return Row("WCS", f"centre {ra:.5f} {dec:+.5f} deg, {scale:.4g} arcsec per pixel", kind)


def _psf(file: ImageFile) -> str:
    if file.psf is None:
        return "none with the file: measured from the stars"
    fwhm = file.psf.fwhm()
    return f"with the file, FWHM {fwhm * pixel_scale(file.wcs, file.shape):.3g} arcsec"


def draft_from_file(uri: str, extension: str | None = None) -> str:
    """Return a first description of the instrument of a file, see `residua.instruments.draft`.

    Raises
    ------
    residua.errors.ResiduaError
        The file cannot be opened.
    """
    reading = None if extension is None else ImageReading(extension=extension)
    opened = open_file(uri, reading=reading)
    found = opened.file.metadata
    header = opened.file.header
    cards: dict[str, object] = {} if header is None else dict(header)
    return draft_description(
        cards,
        name=found.instrument or "MyCamera",
        facility_name=found.facility_name or "MyObservatory:MyTelescope",
        filters=_filters(found.physical_filter, found.band),
        visit_cards=_there(VISIT_CARDS, cards),
        detector_cards=_there(DETECTOR_CARDS, cards)[:1],
        shape=opened.file.shape,
        pixel_scale=pixel_scale(opened.file.wcs, opened.file.shape),
    )


def _filters(physical_filter: str | None, band: str | None) -> dict[str, str]:
    return {physical_filter: band} if physical_filter and band else {}


def _there(keys: Iterable[str], cards: dict[str, object]) -> list[str]:
    return [k for k in keys if cards.get(k) not in (None, "")]
