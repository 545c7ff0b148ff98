"""Values of cards, whatever way they were written: quoted numbers, blanks, several names."""

import math
import re
from collections.abc import Sequence

from astropy.io.fits import Header

__all__ = ["first_number", "integer", "joined", "number", "positive", "text", "text_cards"]


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
        value = header.get(key)
        if value is None or isinstance(value, bool):
            continue
        try:
            found = float(value)
        except (TypeError, ValueError):
            continue
        if math.isfinite(found):
            return found, key
    return None


def positive(header: Header, keys: Sequence[str]) -> tuple[float, str] | None:
    """Return value and keyword of the first of these cards that holds a number above zero."""
    for key in keys:
        found = first_number(header, (key,))
        if found is not None and found[0] > 0.0:
            return found
    return None


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
