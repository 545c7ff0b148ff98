"""Writing VOTables, a batch of rows at a time."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from xml.sax.saxutils import quoteattr

from residua.access.adql import ColumnSchema
from residua.access.adql.queryable import Kind
from residua.access.dali.cells import Batches, binary2_rows, clean, tabledata_rows, xml_text

__all__ = ["NAMESPACE", "error_document", "votable", "votable_head"]

NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"

_TYPES: dict[Kind, dict[str, str]] = {
    "text": {"datatype": "char", "arraysize": "*"},
    "int": {"datatype": "int"},
    "long": {"datatype": "long"},
    "double": {"datatype": "double"},
    "point": {"datatype": "double", "arraysize": "2", "xtype": "point"},
    "circle": {"datatype": "double", "arraysize": "3", "xtype": "circle"},
    "polygon": {"datatype": "double", "arraysize": "*", "xtype": "polygon"},
}
_XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OUR_ID = re.compile(r"col_[0-9]+")


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
        f'<INFO name="QUERY_STATUS" value="ERROR">{xml_text(message)}</INFO>\n'
        "</RESOURCE>\n</VOTABLE>\n"
    )


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
    head += ["<TABLE>\n", _fields(tuple(columns)), "<DATA>\n"]
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
                pending += binary2_rows(columns, rows)
                whole = len(pending) - len(pending) % 3
                yield b64encode(pending[:whole]) + b"\n"
                pending = pending[whole:]
            elif rows:
                yield tabledata_rows(columns, rows)
            if overflow:
                break
    except Exception as e:  # noqa: BLE001 the status is sent: only the document can still say it
        failed = str(e)
    if pending:
        yield b64encode(pending) + b"\n"
    tail = ["</STREAM>\n</BINARY2>\n" if binary else "</TABLEDATA>\n", "</DATA>\n</TABLE>\n"]
    if failed:
        tail.append(f'<INFO name="QUERY_STATUS" value="ERROR">{xml_text(failed)}</INFO>\n')
    elif overflow:
        tail.append('<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n')
    tail += ["</RESOURCE>\n", resources, "</VOTABLE>\n"]
    yield "".join(tail).encode()


@lru_cache(maxsize=256)
def _fields(columns: tuple[ColumnSchema, ...]) -> str:
    names = [column.name.lower() for column in columns]
    return "".join(
        _field(i, column, is_unique=names.count(column.name.lower()) == 1)
        for i, column in enumerate(columns)
    )


def _field(i: int, column: ColumnSchema, *, is_unique: bool) -> str:
    # Readers that know columns by ID alone then see the name, where XML lets it be one.
    named = is_unique and _XML_NAME.fullmatch(column.name) and not _OUR_ID.fullmatch(column.name)
    attributes = {
        "ID": column.name if named else f"col_{i}",
        "name": column.name or f"column_{i + 1}",
        **_TYPES[column.kind],
    }
    if column.kind == "text" and column.unicode:
        attributes["datatype"] = "unicodeChar"
    if column.datatype is not None:
        attributes["datatype"] = column.datatype
    if column.xtype is not None:
        attributes["xtype"] = column.xtype
    if column.kind == "text" and column.length is not None:
        attributes["arraysize"] = column.arraysize
    for name in ("unit", "ucd", "utype"):
        value = getattr(column, name)
        if value:
            attributes[name] = value
    words = " ".join(f"{n}={_attribute(v)}" for n, v in attributes.items())
    if not column.description:
        return f"<FIELD {words}/>\n"
    return f"<FIELD {words}><DESCRIPTION>{xml_text(column.description)}</DESCRIPTION></FIELD>\n"


def _attribute(value: str) -> str:
    return quoteattr(clean("".join(max(c, " ") for c in value)))
