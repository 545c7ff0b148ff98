"""Writing VOTables, a batch of rows at a time."""

import math
import struct
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from residua.access.adql import ColumnSchema
from residua.access.adql.schema import Kind

__all__ = ["NAMESPACE", "error_document", "known_kinds", "numbers", "votable", "votable_head"]

NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"

_TYPES: dict[Kind, dict[str, str]] = {
    "text": {"datatype": "char", "arraysize": "*"},
    "int": {"datatype": "int"},
    "long": {"datatype": "long"},
    "double": {"datatype": "double"},
    "point": {"datatype": "double", "arraysize": "2", "xtype": "point"},
    "circle": {"datatype": "double", "arraysize": "3", "xtype": "circle"},
    "polygon": {"datatype": "double", "arraysize": "*", "xtype": "polygon"},
    "unknown": {"datatype": "char", "arraysize": "*"},
}

__all__ += ["Batches"]

type Batches = Iterable[Sequence[tuple[Any, ...]]]


def votable_head() -> str:
    """Begin a VOTable: declaration and root element."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<VOTABLE version="1.4" xmlns="{NAMESPACE}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
    )


def error_document(message: str) -> str:
    """VOTable that says the request failed, DALI 1.1 section 4.4."""
    return (
        f'{votable_head()}<RESOURCE type="results">\n'
        f'<INFO name="QUERY_STATUS" value="ERROR">{_text(message)}</INFO>\n'
        "</RESOURCE>\n</VOTABLE>\n"
    )


def known_kinds(
    columns: Sequence[ColumnSchema], rows: Sequence[tuple[Any, ...]]
) -> tuple[ColumnSchema, ...]:
    """Give columns of unknown type the one their first values have."""
    result = []
    for i, column in enumerate(columns):
        if column.kind == "unknown":
            values = [row[i] for row in rows if row[i] is not None]
            kind = _kind_of(values)
            result.append(replace(column, kind=kind))
        else:
            result.append(column)
    return tuple(result)


def votable(
    columns: Sequence[ColumnSchema],
    batches: Batches,
    *,
    max_rows: int,
    binary: bool = False,
    infos: Sequence[tuple[str, str]] = (),
    resources: str = "",
) -> Iterator[bytes]:
    """Yield a VOTable with one table of results.

    Parameters
    ----------
    max_rows
        Rows after this one are not written, but said to exist.
    binary
        BINARY2 instead of TABLEDATA.
    infos
        Names and values of INFO elements.
    resources
        Further RESOURCE elements, XML.
    """
    head = [
        votable_head(),
        '<RESOURCE type="results">\n',
        '<INFO name="QUERY_STATUS" value="OK"/>\n',
    ]
    head += [f"<INFO name={quoteattr(n)} value={_attribute(v)}/>\n" for n, v in infos]
    head += ["<TABLE>\n", *(_field(i, column) for i, column in enumerate(columns)), "<DATA>\n"]
    head.append('<BINARY2>\n<STREAM encoding="base64">\n' if binary else "<TABLEDATA>\n")
    yield "".join(head).encode()
    written, overflow, failed = 0, False, ""
    pending = b""
    try:
        for batch in batches:
            rows = batch[: max_rows - written]
            written += len(rows)
            overflow = overflow or len(batch) > len(rows)
            if rows and binary:
                # Base64 goes by three bytes; padding would end the stream.
                pending += _binary2(columns, rows)
                whole = len(pending) - len(pending) % 3
                yield b64encode(pending[:whole]) + b"\n"
                pending = pending[whole:]
            elif rows:
                yield _tabledata(columns, rows)
            if overflow:
                break
    except Exception as e:  # noqa: BLE001 the status is sent: only the document can still say it
        failed = str(e)
    if pending:
        yield b64encode(pending) + b"\n"
    tail = ["</STREAM>\n</BINARY2>\n" if binary else "</TABLEDATA>\n", "</DATA>\n</TABLE>\n"]
    if failed:
        tail.append(f'<INFO name="QUERY_STATUS" value="ERROR">{_text(failed)}</INFO>\n')
    elif overflow:
        tail.append('<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n')
    tail += ["</RESOURCE>\n", resources, "</VOTABLE>\n"]
    yield "".join(tail).encode()


def numbers(value: str) -> list[float]:
    """Numbers of a geometry, as the database gives them."""
    return [float(word) for word in value.split()]


def _field(i: int, column: ColumnSchema) -> str:
    attributes = {"ID": f"col_{i}", "name": column.name or f"column_{i + 1}", **_TYPES[column.kind]}
    if column.kind == "text" and column.length is not None:
        attributes["arraysize"] = column.arraysize
    for name in ("unit", "ucd", "utype"):
        value = getattr(column, name)
        if value:
            attributes[name] = value
    words = " ".join(f"{n}={_attribute(v)}" for n, v in attributes.items())
    if not column.description:
        return f"<FIELD {words}/>\n"
    return f"<FIELD {words}><DESCRIPTION>{_text(column.description)}</DESCRIPTION></FIELD>\n"


def _tabledata(columns: Sequence[ColumnSchema], rows: Sequence[tuple[Any, ...]]) -> bytes:
    kinds = [column.kind for column in columns]
    lines = []
    for row in rows:
        cells = "".join(
            f"<TD>{_cell(v, k)}</TD>" if v is not None else "<TD/>"
            for v, k in zip(row, kinds, strict=True)
        )
        lines.append(f"<TR>{cells}</TR>\n")
    return "".join(lines).encode()


def _cell(value: Any, kind: Kind) -> str:
    match kind:
        case "int" | "long":
            return str(int(value))
        case "double":
            return _float_text(float(value))
        case "point" | "circle" | "polygon":
            return " ".join(map(repr, numbers(str(value))))
        case _:
            return _text(str(value))


def _binary2(columns: Sequence[ColumnSchema], rows: Sequence[tuple[Any, ...]]) -> bytes:
    kinds = [column.kind for column in columns]
    parts = []
    for row in rows:
        flags = bytearray((len(kinds) + 7) // 8)
        cells = []
        for i, (value, kind) in enumerate(zip(row, kinds, strict=True)):
            if value is None:
                flags[i // 8] |= 0x80 >> (i % 8)
            cells.append(_bytes(value, kind))
        parts += [bytes(flags), *cells]
    return b"".join(parts)


def _bytes(value: Any, kind: Kind) -> bytes:
    match kind:
        case "int":
            return struct.pack(">i", int(value or 0))
        case "long":
            return struct.pack(">q", int(value or 0))
        case "double":
            return struct.pack(">d", math.nan if value is None else float(value))
        case "point" | "circle":
            size = 2 if kind == "point" else 3
            values = numbers(str(value)) if value is not None else [math.nan] * size
            return struct.pack(f">{size}d", *values)
        case "polygon":
            values = numbers(str(value)) if value is not None else []
            return struct.pack(f">i{len(values)}d", len(values), *values)
        case _:
            data = b"" if value is None else str(value).encode()
            return struct.pack(">i", len(data)) + data


def _kind_of(values: Sequence[Any]) -> Kind:
    if not values:
        return "unknown"
    if all(isinstance(v, int) for v in values):
        return "long"
    if all(isinstance(v, int | float) or hasattr(v, "as_tuple") for v in values):
        return "double"
    return "unknown"


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _text(value: str) -> str:
    return escape("".join(c if c >= " " or c in "\t\n\r" else "�" for c in value))


def _attribute(value: str) -> str:
    return quoteattr(_text_plain(value))


def _text_plain(value: str) -> str:
    return "".join(max(c, " ") for c in value)
