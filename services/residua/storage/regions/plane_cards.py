"""Planes of a file as its headers tell of them: their own cards, and those that place them."""

import re
from dataclasses import dataclass
from functools import cached_property

from astropy.io import fits

from residua.storage.forms.decode import TileTable

__all__ = ["BLOCK", "Plane", "Reference", "card_lines", "header_of"]

BLOCK = 2880
"""Bytes of which a header takes a whole number."""
_CARD = 80
_REFERENCE = re.compile(r"((CRPIX|CRVAL)([12])([A-Z]?)) *=")
_STRUCTURE = frozenset(
    {
        "XTENSION", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "EXTEND",
        "TFIELDS", "THEAP", "CHECKSUM", "DATASUM", "EXTNAME", "BZERO", "BSCALE", "END",
    }
)  # fmt: skip
_Z_CARDS = frozenset(
    {
        "ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZQUANTIZ", "ZDITHER0", "ZBLANK", "ZSIMPLE",
        "ZTENSION", "ZEXTEND", "ZBLOCKED", "ZPCOUNT", "ZGCOUNT", "ZHECKSUM", "ZDATASUM",
        "ZMASKCMP",
    }
)  # fmt: skip
_Z_NUMBERED = ("ZNAXIS", "ZTILE", "ZNAME", "ZVAL")


@dataclass(frozen=True)
class Plane:
    """An image plane.

    Parameters
    ----------
    header
        As it stands in the file.
    table
        Of a compressed plane.
    data_start
        Where its data begin in the file.
    """

    name: str
    header: fits.Header
    table: TileTable | None
    data_start: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        if self.table is not None:
            return self.table.shape
        return self.header["NAXIS2"], self.header["NAXIS1"]

    @cached_property
    def cards(self) -> tuple[str, ...]:
        """The image's own cards, without those that say how it is stored."""
        lines = card_lines(self.header.tostring(endcard=False, padding=False))
        return tuple(line for line in lines if not _structural(line, self.table is not None))

    @cached_property
    def references(self) -> tuple["Reference", ...]:
        """Which of `cards` place the pixels of a WCS, and must be moved with a part."""
        found = []
        for number, line in enumerate(self.cards):
            match = _REFERENCE.match(line)
            if match is not None:
                name, kind, axis, alternative = match.group(1, 2, 3, 4)
                linear = self.header.get(f"CTYPE{axis}{alternative}") == "LINEAR"
                # A linear one counts the pixels of the whole image.
                if (kind == "CRVAL") == linear:
                    value, comment = float(self.header[name]), self.header.comments[name]
                    found.append(
                        Reference(number, name, 2 - int(axis), 1 if linear else -1, value, comment)
                    )
        return tuple(found)


@dataclass(frozen=True)
class Reference:
    """A card that places the pixels of a WCS.

    Parameters
    ----------
    number
        Which of the plane's cards.
    axis
        0 for rows, 1 for columns.
    sign
        Of the first row or column of a part, in the part's value.
    """

    number: int
    name: str
    axis: int
    sign: int
    value: float
    comment: str


def header_of(content: bytes, start: int) -> tuple[fits.Header, int]:
    """Read the header at a place; return it and where its data begin."""
    place = start
    while True:
        block = content[place : place + BLOCK]
        if len(block) < BLOCK:
            raise ValueError("the header goes on")
        place += BLOCK
        if any(block[i : i + 8] == b"END     " for i in range(0, BLOCK, _CARD)):
            return fits.Header.fromstring(content[start:place].decode("ascii", "replace")), place


def card_lines(text: str) -> list[str]:
    """Return the cards of a header, 80 characters each."""
    return [text[i : i + _CARD].ljust(_CARD) for i in range(0, len(text), _CARD)]


def _structural(line: str, compressed: bool) -> bool:
    name = line[:8].strip()
    if name in _STRUCTURE:
        return True
    if not compressed:
        return False
    return name.startswith(("TTYPE", "TFORM", "TDIM", "TNULL", "TUNIT")) or (
        name.startswith("Z") and (name in _Z_CARDS or name.startswith(_Z_NUMBERED))
    )
