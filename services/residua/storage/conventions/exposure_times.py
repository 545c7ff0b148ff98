"""How long an exposure was, in seconds, whatever card and unit it is written in."""

import re

from astropy.io.fits import Header

from residua.storage.conventions.values import contradictions, number, text, unreadable

__all__ = ["in_seconds", "read_exposure"]

# EXPOSURE comes late: JWST and others count their exposures in it.
_EXPOSURES = (
    *("EXPTIME", "XPOSURE", "EFFEXPTM", "EXP_TIME", "EXP-TIME", "ITIME", "TEXPTIME"),
    *("ELAPTIME", "EXPOSURE", "EXPOSED"),
)
_UNITS = {
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("min", "minutes"), 60.0),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("s", "sec", "seconds", "second"), 1.0),
}


def read_exposure(header: Header, unit: str, notes: list[str]) -> tuple[float, str] | None:
    """Return seconds and the card they come from; `None` where no card has any.

    Parameters
    ----------
    header
        Cards of the file.
    unit
        Unit where the card's comment names none: ``s``, ``min``, ``d``.
    notes
        Where it is said what was not used.
    """
    notes.extend(unreadable(header, _EXPOSURES))
    notes.extend(contradictions(header, _EXPOSURES))
    found = None
    for card in _EXPOSURES:
        value = number(header, card)
        if value is None or _is_counter(header, card):
            continue
        if value < 0.0:
            notes.append(f"{card} is {value:g}: not used")
            continue
        # Zero where another card knows better; a bias has nothing else.
        found = (value, card) if found is None or (found[0] == 0.0 and value > 0.0) else found
    if found is None:
        return None
    value, card = found
    comment = str(header.comments[card])
    stated = re.search(r"[\[(]\s*(\w+)\s*[\])]", comment)
    named = _UNITS.get(stated[1].casefold()) if stated else None
    if named is not None and named != _UNITS[unit]:
        notes.append(f"{card} is {value:g} {stated[1] if stated else unit}, by its comment")
    return value * (named if named is not None else _UNITS[unit]), card


def _is_counter(header: Header, card: str) -> bool:
    # '00003' is the number of an exposure.
    return re.fullmatch(r"0\d+", text(header, card) or "") is not None


def in_seconds(exposure: float, span: float, source: str, notes: list[str]) -> float:
    """Return the exposure time, days made seconds where the span of the exposure shows them.

    Parameters
    ----------
    exposure
        As understood.
    span
        Seconds from start to end.
    source
        Its card.
    notes
        Where it is said what was done.
    """
    days = exposure * 86400.0
    if span > 0.0 and exposure < 0.01 * span and 0.1 * span < days < 1.2 * span:
        notes.append(f"{source} is {exposure:g}: taken as days, as start and end have it")
        return days
    return exposure
