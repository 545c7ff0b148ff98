"""Values of cards, whatever way they were written: quoted numbers, blanks, several names."""

import math
import re
from collections.abc import Sequence

from astropy.io.fits import Header

__all__ = [
    "as_number",
    "contradictions",
    "first_number",
    "integer",
    "joined",
    "number",
    "positive",
    "text",
    "text_cards",
    "unreadable",
]

# As FITS writes numbers (Standard 4.0, section 4.2), Fortran's D for the exponent included.
# Python's own reading would take 1_5 for fifteen, and "infinity" for a number.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?")
_SAYS_NOTHING = re.compile(r"n/?a|nan|none|null|unknown|undefined|unspecified|-*", re.IGNORECASE)


def as_number(value: object) -> float | None:
    """Return a card's value as a finite number, also a quoted one; `None` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            return None
        value = re.sub("[Dd]", "e", value)
    found = float(value)
    return found if math.isfinite(found) else None


def text(header: Header, *keys: str) -> str | None:
    """Return the first of these cards that holds words."""
    for key in keys:
        value = header.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def number(header: Header, *keys: str) -> float | None:
    """Return the first of these cards that holds a finite number, also a quoted one."""
    found = first_number(header, keys)
    return None if found is None else found[0]


def first_number(header: Header, keys: Sequence[str]) -> tuple[float, str] | None:
    """Return value and keyword of the first of these cards that holds a finite number."""
    for key in keys:
        found = as_number(header.get(key))
        if found is not None:
            return found, key
    return None


def positive(header: Header, keys: Sequence[str]) -> tuple[float, str] | None:
    """Return value and keyword of the first of these cards that holds a number above zero."""
    for key in keys:
        found = first_number(header, (key,))
        if found is not None and found[0] > 0.0:
            return found
    return None


def unreadable(header: Header, keys: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each of these cards that holds words where a number belongs."""
    notes = []
    for key in dict.fromkeys(keys):
        value = header.get(key)
        words = value.strip() if isinstance(value, str) and as_number(value) is None else ""
        if not _SAYS_NOTHING.fullmatch(words):
            notes.append(f"{key} is the text {words!r}, which is no number: not used")
    return tuple(notes)


def contradictions(header: Header, keys: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each of these cards that is there more than once, with other values."""
    notes = []
    for key in dict.fromkeys(keys):
        if header.get(key) is None or header.count(key) < 2:
            continue
        values = [str(header[key, n]).strip() for n in range(header.count(key))]
        if len(set(values)) > 1:
            notes.append(
                f"{key} is there {len(values)} times ({', '.join(values[:4])}): the first is taken"
            )
    return tuple(notes)


def integer(header: Header, *keys: str) -> int | None:
    """Return the first of these cards that holds a whole number of at least zero."""
    for key in keys:
        value = header.get(key)
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, str) and not re.fullmatch(r"\s*\d+\s*", value):
            continue
        if isinstance(value, int | float | str) and float(value) >= 0 and float(value) % 1 == 0:
            return int(value)
    return None


def joined(header: Header, spec: str) -> str | None:
    """Return the values of the cards of a specification such as ``CCDID/QID``, or `None`.

    Cards are separated by slashes; all must hold something.
    """
    values = []
    for key in spec.split("/"):
        value = header.get(key.strip())
        if value is None or isinstance(value, bool) or not str(value).strip():
            return None
        whole = isinstance(value, float) and value.is_integer()
        values.append(str(int(value) if whole else value).strip())
    return "/".join(values)


def text_cards(header: Header) -> dict[str, str]:
    """Return all cards as text, for patterns."""
    return {
        card.keyword: str(card.value)
        for card in header.cards
        if card.keyword not in {"", "COMMENT", "HISTORY"}
    }
