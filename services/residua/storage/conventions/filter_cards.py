"""The filter of an image: one card or several wheels, and what of them is no filter at all."""

import hashlib
import re
from dataclasses import dataclass

from astropy.io.fits import Header

from residua.instruments import Instrument
from residua.instruments.filter_names import band_of_name, filter_name
from residua.storage.conventions.values import contradictions, integer, text

__all__ = ["FilterReading", "read_filter"]

_DATA_ID = "LSST BUTLER DATAID"
_CARDS = (
    *(f"{_DATA_ID} PHYSICAL_FILTER", "FILTER", "FILTNAM", "FILTNAME", "FPA.FILTERID"),
    *("FPA.FILTER", "FILTERS", "WFFBAND", "INSFILTE", "FILTER_NAME", "FILT"),
)
_WHEELS = (
    *(f"FILTER{n}" for n in range(1, 6)),
    *(f"FILTER0{n}" for n in range(1, 4)),
    *(f"FILTNAM{n}" for n in range(1, 4)),
    *(f"FILT{n}" for n in range(1, 5)),
    *("FILTERA", "FILTERB", "FWNAME1", "FWNAME2", "ALFLTNM", "FAFLTNM", "FBFLTNM"),
    *(f"ESO INS FILT{n} NAME" for n in range(1, 5)),
    "PUPIL",
)
_CLEAR = re.compile(
    r"clear\d*[a-z]?|open\d*(-\d+)?|air|empty|free|white|no[ _-]?filter|pupil ?open", re.IGNORECASE
)
_NOTHING = re.compile(
    r"none|null|n/?a|nan|undefined|unknown|unspecified|-*|\d{1,2}"
    r"|moving|in ?between|dark|block(ed)?",
    re.IGNORECASE,
)
_LONGEST = 32

UNFILTERED = "clear"
"""Band of an image taken through no filter."""


@dataclass(frozen=True)
class FilterReading:
    """What the cards say about the filter.

    Parameters
    ----------
    band, physical_filter
        `None` where nothing says so.
    source
        The cards.
    notes
        What was assumed, or could not be understood.
    """

    band: str | None = None
    physical_filter: str | None = None
    source: str = ""
    notes: tuple[str, ...] = ()


def read_filter(header: Header, instrument: Instrument) -> FilterReading:
    """Read filter and band; wheels that are open do not count, several filters are joined.

    Parameters
    ----------
    header
        Cards of the file.
    instrument
        Its description: names it lists mean the bands it says.
    """
    name, source, clear = _name(header, instrument)
    stated = text(header, f"{_DATA_ID} BAND", "BAND")
    if name is None:
        if stated is not None and not _NOTHING.fullmatch(stated):
            return FilterReading(band_of_name(stated), None, "BAND")
        if len(instrument.filters) == 1:
            [only] = instrument.filters
            note = f"{instrument.name} has one filter, {only.physical_filter}"
            return FilterReading(only.band, only.physical_filter, source, (note,))
        if clear:
            note = f"no filter in the beam ({source}): band {UNFILTERED}"
            return FilterReading(UNFILTERED, UNFILTERED, source, (note,))
        silent = (f"{source} names no filter",) if source else ()
        return FilterReading(None, None, source, silent)
    twice = contradictions(header, source.split("/"))
    known = instrument.find_filter(name)
    if known is not None:
        return FilterReading(known.band, _short(known.physical_filter), source, twice)
    meant = filter_name(name)
    band = band_of_name(stated) if stated else None if meant is None else meant.band
    notes: tuple[str, ...] = ()
    if meant is None and not stated:
        notes = (f"{source} = {name!r} is the name of a filter set, not of a filter",)
    elif band is not None and band != name:
        notes = (f"{source} = {name!r} is taken as band {band}",)
    return FilterReading(band, _short(name), source, (*notes, *twice))


def _name(header: Header, instrument: Instrument) -> tuple[str | None, str, bool]:
    seen, clear = "", False
    for card in (*instrument.filter_from, *_CARDS):
        numbered = _by_number(header, card, instrument)
        if numbered is not None:
            return numbered, card, False
        value = text(header, card)
        if value is None:
            # A number is a place in a wheel.
            seen = seen or (card if isinstance(header.get(card), int | float) else "")
            continue
        seen = seen or card
        if _CLEAR.fullmatch(value):
            clear = True
        elif not _NOTHING.fullmatch(value):
            return _with_pupil(header, value, card)
    names, cards = [], []
    for card in _WHEELS:
        value = text(header, card)
        if value is None:
            continue
        seen = seen or card
        if _CLEAR.fullmatch(value):
            clear = True
        elif not _NOTHING.fullmatch(value) and value not in names:
            names.append(value)
            cards.append(card)
    if names:
        return "+".join(names), "/".join(cards), clear
    return None, seen, clear


def _by_number(header: Header, card: str, instrument: Instrument) -> str | None:
    # Of a camera whose description names its filters by their numbers.
    number = integer(header, card) if card in instrument.filter_from else None
    name = None if number is None else str(number)
    known = name is not None and any(f.physical_filter == name for f in instrument.filters)
    return name if known else None


def _with_pupil(header: Header, value: str, card: str) -> tuple[str, str, bool]:
    # JWST: the narrow filters sit in the pupil wheel, before a wide one.
    pupil = text(header, "PUPIL")
    if pupil is not None and re.fullmatch(r"F\d{3}[NMW]\d?", pupil):
        return f"{value}+{pupil}", f"{card}/PUPIL", False
    return value, card, False


def _short(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 5]}_{hashlib.sha256(name.encode()).hexdigest()[:4]}"
