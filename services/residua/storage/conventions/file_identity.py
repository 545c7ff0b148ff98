"""Who a file is: instrument, visit and detector, so that different images never share a name.

The exposure numbers of a camera nobody described may begin again each night or each run, and
several cut-outs may share a start to the millisecond, so neither is an identity: the file's
name and the start of its exposure together are. A description, or the person who gives the
file (``--visit-from``), says which cards to believe.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from astropy.io.fits import Header

from residua.errors import UnusableImageError
from residua.instruments import Instrument, InstrumentRegistry
from residua.storage.conventions.values import integer, joined, text, text_cards

__all__ = [
    "DETECTOR_CARDS",
    "UNDESCRIBED",
    "VISIT_CARDS",
    "Identity",
    "derived_visit",
    "instrument_name",
    "read_identity",
    "visit_of_time",
]

_DATA_ID = "LSST BUTLER DATAID"
_INSTRUMENT_CARDS = (
    f"{_DATA_ID} INSTRUMENT",
    "INSTRUME",
    "CAMERA",
    "FPA",
    "DETECTOR",
    "TELESCOP",
    "CAMNAME",
    "FPA.INSTRUMENT",
    "FPA.TELESCOPE",
)
VISIT_CARDS = (
    *("VISIT", "EXPNUM", "EXPID", "OBSID", "IDNUM", "IMAGEID", "FRAMENUM", "OBSNUM", "RUN"),
    *("FRAMENO", "SEQNUM"),
)
"""Cards in which cameras number their exposures, some of them for ever."""
_USUAL_VISIT_CARDS = ("VISIT", "EXPNUM", "EXPID", "IDNUM")
DETECTOR_CARDS = (
    *("DETECTOR", "CCDNUM", "CCDID", "CCD", "CHIPID", "CHIPNUM", "DETNUM", "QID", "CAMERA"),
    *("CCDCHIP", "ESO DET CHIP NO", "LBCCHIP", "CHNLNUM"),
)
"""Cards in which cameras number their detectors."""
_DETECTOR_NAME_CARDS = (
    *("DETECTOR", "CCDNAME", "CHIPNAME", "DETNAME", "DETSER", "DETECTID"),
    *("ESO DET CHIP1 ID", "ESO DET CHIP ID"),
)

FROM_NAME = "name"
"""``--visit-from name``: from the file's name."""
FROM_TIME = "time"
"""``--visit-from time``: from the start of the exposure."""

UNDESCRIBED = "Unknown"
"""Name of an instrument that no card names."""

_HASHED_VISITS = 10**15
_HASHED_DETECTORS = 10**6


@dataclass(frozen=True)
class Identity:
    """Visit and detector of a file, and where they come from.

    Parameters
    ----------
    visit, detector
        `None` where nothing says so.
    visit_source, detector_source
        The cards; ``time`` for the start of the exposure.
    notes
        What was assumed, or passed over.
    """

    visit: int | None
    detector: int | None
    visit_source: str = ""
    detector_source: str = ""
    notes: tuple[str, ...] = ()


def instrument_name(header: Header, instruments: InstrumentRegistry) -> str | None:
    """Return the instrument a header speaks of; one that is not described, by its own name.

    The filter's name is no witness: filters are lent to other cameras.
    """
    words = " ".join(str(header[n]) for n in _INSTRUMENT_CARDS if n in header)
    found = instruments.recognise(words, text_cards(header))
    return found or _name(text(header, "INSTRUME", "FPA.INSTRUMENT", "CAMERA"))


def _name(value: str | None) -> str | None:
    # An instrument name becomes part of keys and paths: see the pattern of VisitDetector.
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", value or "").strip("-_")[:32]
    return cleaned or None


def read_identity(
    header: Header,
    instrument: Instrument,
    begin: datetime | None,
    *,
    visit_from: str | None = None,
    detector_from: str | None = None,
) -> Identity:
    """Find visit and detector.

    Parameters
    ----------
    header
        Cards of the file.
    instrument
        Its description; ``generic`` when there is none.
    begin
        Start of the exposure, TAI.
    visit_from, detector_from
        Cards to take them from, whatever else there is: ``EXPNUM``, or several joined by
        slashes; for the visit also ``time`` and ``name`` (left open here).

    Raises
    ------
    residua.errors.UnusableImageError
        A card asked for by name is not there.
    """
    visit, visit_source, notes = _visit(header, instrument, begin, visit_from)
    detector, detector_source, more = _detector(header, instrument, detector_from)
    return Identity(visit, detector, visit_source, detector_source, (*notes, *more))


def _visit(
    header: Header, instrument: Instrument, begin: datetime | None, asked: str | None
) -> tuple[int | None, str, tuple[str, ...]]:
    if asked == FROM_NAME:
        return None, "", ()
    usual = () if instrument.generic else _USUAL_VISIT_CARDS
    specs = (f"{_DATA_ID} VISIT", *(instrument.visit_from or usual))
    for spec in (asked,) if asked else specs:
        value = _time_text(begin) if spec == FROM_TIME else joined(header, spec)
        named = spec in instrument.visit_from or spec == asked
        if value is not None and (named or _whole(value)):
            return _number(value, _HASHED_VISITS), spec, ()
    if asked:
        what = "start of the exposure" if asked == FROM_TIME else f"{asked} card"
        raise UnusableImageError(f"there is no {what} to take the visit from")
    passed = [k for k in VISIT_CARDS if integer(header, k) is not None]
    if not passed:
        return None, "", ()
    cards = ", ".join(f"{k}={integer(header, k)}" for k in passed)
    why = "the numbers of a camera without a description may begin again"
    note = f"{cards} not taken for the visit: {why} (--visit-from {passed[0]} takes it)"
    return None, "", (note,)


def _detector(
    header: Header, instrument: Instrument, asked: str | None
) -> tuple[int | None, str, tuple[str, ...]]:
    for spec in (asked,) if asked else (f"{_DATA_ID} DETECTOR", *_described(instrument)):
        value = joined(header, spec)
        named = spec in instrument.detector_from or spec == asked
        if value is not None and (named or _is_detector(value, instrument)):
            return _detector_number(value, instrument), spec, ()
    if asked:
        raise UnusableImageError(f"there is no {asked} card to take the detector from")
    numbered = [k for k in DETECTOR_CARDS if integer(header, k) is not None]
    spec = "/".join(numbered) or next((k for k in _DETECTOR_NAME_CARDS if text(header, k)), "")
    value = joined(header, spec) if spec else None
    if value is None:
        return None, "", ()
    made = () if _whole(value) else (f"the detector's number is made of {spec} = {value!r}",)
    return _number(value, _HASHED_DETECTORS), spec, made


def _described(instrument: Instrument) -> tuple[str, ...]:
    usual = () if instrument.generic else DETECTOR_CARDS
    return instrument.detector_from or usual


def _is_detector(value: str, instrument: Instrument) -> bool:
    return _whole(value) or instrument.find_detector(value) is not None


def _detector_number(value: str, instrument: Instrument) -> int:
    known = instrument.find_detector(value)
    return known if known is not None else _number(value, _HASHED_DETECTORS)


def _whole(value: str) -> bool:
    return re.fullmatch(r"\d{1,18}", value) is not None


def _number(value: str, base: int) -> int:
    # A number stays one; anything else becomes one, the same everywhere.
    if _whole(value) and (base == _HASHED_VISITS or int(value) < 2**31):
        return int(value)
    digest = hashlib.sha256(value.encode()).hexdigest()
    if base == _HASHED_VISITS:
        return base + int(digest[:12], 16)
    return base + int(digest[:12], 16) % (2**31 - base)


def _time_text(begin: datetime | None) -> str | None:
    return None if begin is None else str(visit_of_time(begin))


def visit_of_time(begin: datetime) -> int:
    """Return the visit number of an exposure by its start: date and millisecond of the day.

    ``2026-01-05T03:00:00`` becomes 2026010510800000; below 2^53, so that every JSON reader
    keeps it whole.
    """
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    milliseconds = round((begin - midnight).total_seconds() * 1000.0)
    return int(begin.strftime("%Y%m%d")) * 10**8 + milliseconds


def derived_visit(uri: str, begin: datetime | None = None) -> int:
    """Return a stable visit number for a file that states none, from its name and its start.

    At least 10^15, so that it is not mistaken for a camera's number, and below 2^53, so that
    every JSON reader keeps it whole.
    """
    name = PurePosixPath(uri.split("#", 1)[0]).name
    key = name if begin is None else f"{name}|{begin.isoformat()}"
    return _HASHED_VISITS + int(hashlib.sha256(key.encode()).hexdigest()[:12], 16)
