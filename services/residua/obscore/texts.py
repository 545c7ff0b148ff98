"""Texts from outside, as they go into rows."""

import re
from functools import lru_cache

__all__ = ["row_text"]

# Control characters, and what XML has no way to say.
_UNFIT = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@lru_cache(maxsize=1024)
def row_text(text: str | None, length: int) -> str | None:
    """Return a text that every answer can hold.

    Parameters
    ----------
    length
        Largest number of characters the column declares; the event keeps what is cut here.
    """
    if text is None:
        return None
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)[:length]
