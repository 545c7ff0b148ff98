"""Tables that clients bring, TAP 1.1 section 2.5: VOTables in the request, or at an address."""

import base64
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any
from xml.parsers import expat

import numpy as np

from residua.access.adql import ColumnSchema, TableSchema, UploadedTable
from residua.access.adql.queryable import Kind
from residua.access.dali.errors import UsageError
from residua.access.dali.parameters import Parameters

__all__ = ["UPLOAD_PREFIX", "UPLOAD_SCHEMA", "kept_uploads", "uploaded_tables"]

UPLOAD_SCHEMA = "TAP_UPLOAD"
"""Schema of uploaded tables in queries."""

UPLOAD_PREFIX = "UPLOAD:"
"""Begin of the names under which a job remembers uploaded files, base64."""

_SENT = "param:"
_MAX_TABLES = 8
_MAX_COLUMNS = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_KINDS: dict[str, Kind] = {
    "unsignedByte": "int", "short": "int", "int": "int", "long": "long", "boolean": "int",
    "float": "double", "double": "double", "char": "text", "unicodeChar": "text",
}  # fmt: skip


def uploaded_tables(
    parameters: Parameters, max_rows: int, fetch: Callable[[str], bytes]
) -> tuple[UploadedTable, ...]:
    """Read the tables that UPLOAD names.

    Parameters
    ----------
    max_rows
        Most rows of one table.
    fetch
        Gets those that lie elsewhere, by their address.

    Raises
    ------
    UsageError
        UPLOAD is malformed, a file cannot be had, or is no VOTable that can be queried.
    """
    tables = []
    for name, place in _places(parameters).items():
        content = _content(parameters, place) if _is_sent(place) else fetch(place)
        tables.append(_table(name, content, max_rows))
    return tuple(tables)


def kept_uploads(parameters: Parameters) -> dict[str, str]:
    """Return what a job must remember of uploads; what lies elsewhere is fetched when it runs."""
    places = _places(parameters)
    if not places:
        return {}
    kept = {
        f"{UPLOAD_PREFIX}{name.upper()}": base64.b64encode(_content(parameters, place)).decode()
        for name, place in places.items()
        if _is_sent(place)
    }
    kept["UPLOAD"] = ";".join(
        f"{name},{_SENT}{UPLOAD_PREFIX}{name}" if _is_sent(place) else f"{name},{place}"
        for name, place in places.items()
    )
    return kept


def _is_sent(place: str) -> bool:
    return place.startswith(_SENT)


def _places(parameters: Parameters) -> dict[str, str]:
    """Where each table is, by its name."""
    places: dict[str, str] = {}
    pieces = [p for value in parameters.all("UPLOAD") for p in value.split(";") if p.strip()]
    for piece in pieces:
        name, _, place = (word.strip() for word in piece.partition(","))
        if not _NAME.fullmatch(name) or name.lower().startswith("residua"):
            raise UsageError(f"UPLOAD: {name[:60]!r} is no name of a table")
        if name.lower() in {known.lower() for known in places}:
            raise UsageError(f"UPLOAD: there are two tables {name}")
        if not place.startswith((_SENT, "http://", "https://")):
            raise UsageError(
                f"UPLOAD: {place[:60]!r} is not offered; send the VOTable in the same request as "
                f"{name},param:NAME_OF_THE_FILE, or give an http or https address"
            )
        places[name] = place
    if len(places) > _MAX_TABLES:
        raise UsageError(f"UPLOAD: {len(places)} tables; {_MAX_TABLES} are accepted")
    return places


def _content(parameters: Parameters, place: str) -> bytes:
    label = place.removeprefix(_SENT)
    found = parameters.files.get(label.upper())
    if found is not None:
        return found
    remembered = parameters.all(label.upper())
    if not remembered:
        raise UsageError(f"UPLOAD: there is no file {label[:60]!r} in the request")
    if label.upper().startswith(UPLOAD_PREFIX):
        return base64.b64decode(remembered[0])
    return remembered[0].encode()


def _table(name: str, content: bytes, max_rows: int) -> UploadedTable:
    from astropy.io.votable import parse_single_table

    _check_inline(name, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = parse_single_table(io.BytesIO(content), verify="ignore")
    except Exception as e:  # the parser raises many kinds
        words = " ".join(str(e).split())[:200]
        raise UsageError(f"UPLOAD: {name} is no VOTable that can be read: {words}") from e
    fields, array = table.fields, table.array
    if not fields or len(fields) > _MAX_COLUMNS:
        raise UsageError(f"UPLOAD: {name} has {len(fields)} columns; 1 to {_MAX_COLUMNS} are read")
    if len(array) > max_rows:
        raise UsageError(f"UPLOAD: {name} has {len(array)} rows; {max_rows} are read")
    columns = tuple(
        _column(name, field, array[array.dtype.names[i]]) for i, field in enumerate(fields)
    )
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise UsageError(f"UPLOAD: {name} has columns of one name (names know no case)")
    values = [_values(array[array.dtype.names[i]], column.kind) for i, column in enumerate(columns)]
    schema = TableSchema(UPLOAD_SCHEMA, name, f"residua_upload_{name.lower()}", columns)
    return UploadedTable(schema, list(zip(*values, strict=True)))


def _check_inline(name: str, content: bytes) -> None:
    """Refuse a document that would have us open something else: the reader follows addresses."""

    def start(element: str, attributes: dict[str, str]) -> None:
        if element.rpartition(":")[2].upper() in {"STREAM", "FITS"} and any(
            key.rpartition(":")[2].lower() == "href" for key in attributes
        ):
            raise UsageError(f"UPLOAD: the data of {name} are elsewhere; send them inline")

    def doctype(*_: object) -> None:
        raise UsageError(f"UPLOAD: {name} has a document type; a VOTable has none")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as e:
        raise UsageError(f"UPLOAD: {name} is no VOTable that can be read: {e}") from e


def _column(table: str, field: Any, values: Any) -> ColumnSchema:
    kind = _KINDS.get(field.datatype)
    is_array = field.arraysize not in {None, "1"} and kind != "text"
    if kind is None or is_array:
        shape = f"[{field.arraysize}]" if is_array else ""
        raise UsageError(
            f"UPLOAD: the column {field.name} of {table} has the type {field.datatype}{shape}; "
            "numbers and texts are read: leave it out"
        )
    return ColumnSchema(
        str(field.name).lower(),
        kind,
        unit=str(field.unit) if field.unit is not None else None,
        ucd=field.ucd,
        std=False,
        unicode=kind == "text" and (field.datatype == "unicodeChar" or not _is_ascii(values)),
        bounded=False,
        datatype=field.datatype if kind != "text" else None,
        xtype=field.xtype,
    )


def _is_ascii(values: Any) -> bool:
    return all(v.isascii() for v in np.ma.getdata(values).tolist() if isinstance(v, str | bytes))


def _values(column: Any, kind: Kind) -> Sequence[Any]:
    mask = np.ma.getmaskarray(column)
    data = np.ma.getdata(column)
    result: list[Any] = []
    for value, is_missing in zip(data.tolist(), mask.tolist(), strict=True):
        if is_missing or value is None:
            result.append(None)
        elif kind == "double":
            result.append(float(value) if np.isfinite(value) else None)
        elif kind == "text":
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            result.append(text.replace("\0", ""))
        else:
            result.append(int(value))
    return result
