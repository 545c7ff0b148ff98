"""Cells of a table: whether they fit their columns, and how VOTables write them."""

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from residua.access.adql import ColumnSchema
from residua.access.adql.queryable import Kind

__all__ = [
    "Batches",
    "CellError",
    "binary2_rows",
    "checked",
    "clean",
    "numbers",
    "tabledata_rows",
    "xml_text",
]

type Batches = Iterable[Sequence[tuple[Any, ...]]]

# What XML 1.0 has no way to say, escaped or not.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_PLAIN = re.compile("[^\t\n\r\x20-%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class CellError(ValueError):
    """A value of the database is not of the type that was found out of its column."""


def clean(text: str) -> str:
    """Replace what XML cannot hold by the sign for an unknown character."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def xml_text(text: str) -> str:
    """Return a text as the content of an XML element."""
    # Most cells have nothing to escape: looking is cheaper than replacing.
    return escape(clean(text)) if _NOT_PLAIN.search(text) else text


def numbers(value: str) -> list[float]:
    """Numbers of a geometry, as the database gives them."""
    return [float(word) for word in value.split()]


def checked(columns: Sequence[ColumnSchema], batches: Batches) -> Iterator[Sequence[Any]]:
    """Pass rows on whose values have the types of their columns; none is ever narrowed.

    Raises
    ------
    CellError
        A value has another type.
    """
    tests = [_FITS[column.kind] for column in columns]
    for batch in batches:
        for i, fits in enumerate(tests):
            for row in batch:
                value = row[i]
                if value is not None and not fits(value):
                    raise CellError(
                        f"the column {columns[i].name} is of type {columns[i].kind}; one of its "
                        f"values is {str(value)[:40]!r}"
                    )
        yield batch


def tabledata_rows(columns: Sequence[ColumnSchema], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return rows as TR elements."""
    if not rows:
        return b""
    texts = [_column_cells([row[i] for row in rows], c.kind) for i, c in enumerate(columns)]
    lines = [f"<TR>{''.join(cells)}</TR>\n" for cells in zip(*texts, strict=True)]
    return "".join(lines).encode()


def _column_cells(values: Sequence[Any], kind: Kind) -> list[str]:
    write = _WORDS[kind]
    if kind == "double":
        # As a key 0.0 is -0.0.
        return ["<TD/>" if v is None else f"<TD>{write(v)}</TD>" for v in values]
    # Many rows of a catalog share their words.
    made: dict[Any, str] = {None: "<TD/>"}
    cells = []
    for value in values:
        cell = made.get(value)
        if cell is None:
            cell = made[value] = f"<TD>{write(value)}</TD>"
        cells.append(cell)
    return cells


def binary2_rows(columns: Sequence[ColumnSchema], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return rows in VOTable's BINARY2."""
    writers = [_bytes_writer(column) for column in columns]
    parts = []
    for row in rows:
        flags = bytearray((len(writers) + 7) // 8)
        cells = []
        for i, (value, write) in enumerate(zip(row, writers, strict=True)):
            if value is None:
                flags[i // 8] |= 0x80 >> (i % 8)
            cells.append(write(value))
        parts += [bytes(flags), *cells]
    return b"".join(parts)


def _bytes_writer(column: ColumnSchema) -> Callable[[Any], bytes]:
    if column.kind == "text" and column.unicode:
        return _unicode_bytes
    return _UPLOADED.get(column.datatype or "") or _BYTES[column.kind]


def _fits_int(value: Any) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def _fits_long(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _fits_double(value: Any) -> bool:
    # SQLite may hand out a whole number; up to 53 bits it is the same as a double.
    return type(value) is float or (type(value) is int and abs(value) <= 2**53)


def _fits_text(value: Any) -> bool:
    return type(value) is str


def _fits_numbers(value: Any) -> bool:
    try:
        return len(numbers(value)) > 1
    except (ValueError, AttributeError):
        return False


def _whole_text(value: int) -> str:
    return str(value)


def _float_text(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _numbers_text(value: str) -> str:
    return " ".join(map(repr, numbers(value)))


def _int_bytes(value: int | None) -> bytes:
    return struct.pack(">i", value or 0)


def _long_bytes(value: int | None) -> bytes:
    return struct.pack(">q", value or 0)


def _double_bytes(value: float | None) -> bytes:
    return struct.pack(">d", math.nan if value is None else value)


def _boolean_bytes(value: int | None) -> bytes:
    return b"?" if value is None else b"1" if value else b"0"


def _byte_bytes(value: int | None) -> bytes:
    return struct.pack(">B", value or 0)


def _short_bytes(value: int | None) -> bytes:
    return struct.pack(">h", value or 0)


def _float_bytes(value: float | None) -> bytes:
    return struct.pack(">f", math.nan if value is None else value)


def _point_bytes(value: str | None) -> bytes:
    return struct.pack(">2d", *(numbers(value) if value is not None else [math.nan] * 2))


def _circle_bytes(value: str | None) -> bytes:
    return struct.pack(">3d", *(numbers(value) if value is not None else [math.nan] * 3))


def _polygon_bytes(value: str | None) -> bytes:
    values = numbers(value) if value is not None else []
    return struct.pack(f">i{len(values)}d", len(values), *values)


def _ascii_bytes(value: str | None) -> bytes:
    # VOTable 1.4: char is ASCII. One byte that is not would cost a reader the whole table.
    data = (value or "").encode("ascii", "replace")
    return struct.pack(">i", len(data)) + data


def _unicode_bytes(value: str | None) -> bytes:
    # Of two bytes each; astropy and Java read pairs of surrogates as one character.
    data = clean(value or "").encode("utf-16-be")
    return struct.pack(">i", len(data) // 2) + data


_FITS: dict[Kind, Callable[[Any], bool]] = {
    "int": _fits_int,
    "long": _fits_long,
    "double": _fits_double,
    "text": _fits_text,
    "point": _fits_numbers,
    "circle": _fits_numbers,
    "polygon": _fits_numbers,
}
_WORDS: dict[Kind, Callable[[Any], str]] = {
    "int": _whole_text,
    "long": _whole_text,
    "double": _float_text,
    "text": xml_text,
    "point": _numbers_text,
    "circle": _numbers_text,
    "polygon": _numbers_text,
}
_BYTES: dict[Kind, Callable[[Any], bytes]] = {
    "int": _int_bytes,
    "long": _long_bytes,
    "double": _double_bytes,
    "text": _ascii_bytes,
    "point": _point_bytes,
    "circle": _circle_bytes,
    "polygon": _polygon_bytes,
}
_UPLOADED: dict[str, Callable[[Any], bytes]] = {
    "boolean": _boolean_bytes,
    "unsignedByte": _byte_bytes,
    "short": _short_bytes,
    "float": _float_bytes,
}
