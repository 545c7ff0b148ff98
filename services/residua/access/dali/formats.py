"""Formats of results: which a client may ask for, and how each is written."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, override

from residua.access.adql import ColumnSchema
from residua.access.dali.cells import Batches, numbers
from residua.access.dali.errors import UsageError
from residua.access.dali.votable import votable

__all__ = ["FORMATS", "Format", "format_of"]

type Writer = Callable[[Sequence[ColumnSchema], Batches, int], Iterator[bytes]]


@dataclass(frozen=True)
class Format:
    """A format of results.

    Parameters
    ----------
    media_type
        What the answer's Content-Type says.
    names
        What clients may ask for, lower case.
    write
        From columns, batches of rows and the largest number of rows to bytes.
    """

    media_type: str
    names: tuple[str, ...]
    suffix: str
    write: Writer


def format_of(asked: str | None) -> Format:
    """Return the format for a RESPONSEFORMAT; raises `UsageError` for an unknown one."""
    if not asked:
        return FORMATS[0]
    name = asked.strip().lower().replace(" ", "")
    for form in FORMATS:
        if name in form.names:
            return form
    raise UsageError(
        f"RESPONSEFORMAT {asked[:60]!r} is not offered; there are "
        + ", ".join(form.names[0] for form in FORMATS)
    )


def _tabledata(columns: Sequence[ColumnSchema], batches: Batches, rows: int) -> Iterator[bytes]:
    return votable(columns, batches, max_rows=rows)


def _binary2(columns: Sequence[ColumnSchema], batches: Batches, rows: int) -> Iterator[bytes]:
    return votable(columns, batches, max_rows=rows, binary=True)


def _separated(separator: str) -> Writer:
    def write(columns: Sequence[ColumnSchema], batches: Batches, max_rows: int) -> Iterator[bytes]:
        yield _lines(separator, [tuple(column.name for column in columns)])
        for rows in _limited(batches, max_rows):
            yield _lines(separator, rows)

    return write


def _lines(separator: str, rows: Sequence[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue().encode()


def _limited(batches: Batches, max_rows: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    left = max_rows
    for batch in batches:
        yield batch[:left]
        left -= len(batch)
        if left <= 0:
            return


def _parquet(columns: Sequence[ColumnSchema], batches: Batches, max_rows: int) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"int": pa.int32(), "long": pa.int64(), "double": pa.float64()}
    lists = {"point", "circle", "polygon"}
    fields = [
        pa.field(
            column.name,
            pa.list_(pa.float64()) if column.kind in lists else types.get(column.kind, pa.string()),
            metadata={
                name: value
                for name in ("unit", "ucd", "utype", "description")
                if (value := getattr(column, name))
            },
        )
        for column in columns
    ]
    schema = pa.schema(fields)
    # Written as it comes; what is finished leaves at once.
    sink = _Outbox()
    with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema) as writer:
        for rows in _limited(batches, max_rows):
            arrays = [
                pa.array([_value(row[i], column) for row in rows], fields[i].type)
                for i, column in enumerate(columns)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


class _Outbox(io.RawIOBase):
    """A file that is only ever appended to, and emptied from the other side."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    @override
    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _value(value: Any, column: ColumnSchema) -> Any:
    if value is None:
        return None
    match column.kind:
        case "double":
            return float(value)
        case "point" | "circle" | "polygon":
            return numbers(str(value))
        case _:
            # An integer of 32 or 64 bits, or a text: arrow refuses what does not fit.
            return value


FORMATS: tuple[Format, ...] = (
    Format(
        "application/x-votable+xml",
        (
            "votable", "application/x-votable+xml", "text/xml", "votable/td",
            "application/x-votable+xml;serialization=tabledata",
        ),
        "xml",
        _tabledata,
    ),
    Format(
        "application/x-votable+xml;serialization=BINARY2",
        ("votable/b2", "application/x-votable+xml;serialization=binary2"),
        "xml",
        _binary2,
    ),
    Format("text/csv;header=present", ("csv", "text/csv", "text/csv;header=present"), "csv",
           _separated(",")),
    Format("text/tab-separated-values", ("tsv", "text/tab-separated-values"), "tsv",
           _separated("\t")),
    Format(
        "application/vnd.apache.parquet",
        ("parquet", "application/vnd.apache.parquet", "application/x-parquet"),
        "parquet",
        _parquet,
    ),
)  # fmt: skip
"""All formats; the first is what a client gets that asks for none."""
