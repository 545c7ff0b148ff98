"""Cutouts as ``lsst.images`` archives, put together from the parts of an open file.

``lsst.images.serialization.read_archive`` opens them, and every FITS reader does. They are written
here byte by byte: by way of ``lsst.images`` and astropy a stamp takes thirty times as long.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic_core import to_json

from residua.storage.regions.open_file import OpenFile, PixelBox, Plane, UnknownFormError

__all__ = ["ARCHIVE_PLANES", "archive_bytes"]

ARCHIVE_PLANES: Mapping[str, tuple[str, ...]] = {
    "image": ("IMAGE",),
    "masked-image": ("IMAGE", "MASK", "VARIANCE"),
}
"""Extensions of the cutouts that are made here, by their mode."""

_BLOCK = 2880
_CARD = 80
_SCHEMAS = "https://images.lsst.io/schemas"
_ADDRESSES = ("FMTVER", "INDXADDR", "INDXSIZE", "JSONADDR", "JSONSIZE", "DATAMODL")
_NOT_KEPT = frozenset({"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", *_ADDRESSES})
_INDEX = ("EXTVER", "XTENSION", "ZIMAGE", "HDRADDR", "DATADDR", "DATSIZE")
_INDEX_FORMS = ("J", "8A", "L", "K", "K", "K")


def archive_bytes(file: OpenFile, mode: str, box: PixelBox) -> list[bytes]:
    """Make a cutout.

    Parameters
    ----------
    file
        Written by ``lsst.images``.
    mode
        Of `ARCHIVE_PLANES`: an `lsst.images.Image`, or an `lsst.images.MaskedImage`.
    box
        Rows and columns.

    Returns
    -------
    parts
        One after the other they are the file.

    Raises
    ------
    UnknownFormError
        The file holds no such planes.
    """
    names = ARCHIVE_PLANES[mode]
    schema = f"{_SCHEMAS}/{mode.replace('-', '_')}-1.0.0"
    tree = to_json(_tree(file.tree, names, box, schema))
    primary = _kept_cards(file.primary_cards)
    # The addresses are known once everything else is.
    size = len(_header([*_primary_head((0, 0, 0, 0)), *primary, _card("DATAMODL", schema)]))
    parts: list[bytes] = []
    rows = [("", 1, "IMAGE", b"F", 0, size, 0)]
    place = size
    for name in names:
        header = _header(_plane_cards(file.plane(name), box))
        data = _padded(file.pixels(name, box).tobytes(), b"\0")
        rows.append((name, 1, "IMAGE", b"F", place, place + len(header), len(data)))
        parts += [header, data]
        place += len(header) + len(data)
    json = _table([("JSON", f"PB({len(tree)})")], "JSON", 8, 1, len(tree))
    json_data = _padded(np.array([len(tree), 0], ">i4").tobytes() + tree, b"\0")
    rows.append(("JSON", 1, "BINTABLE", b"F", place, place + len(json), len(json_data)))
    index = _index(rows)
    addresses = (
        place + len(json) + len(json_data),
        len(index),
        place,
        len(json) + len(json_data),
    )
    head = _header([*_primary_head(addresses), *primary, _card("DATAMODL", schema)])
    return [head, *parts, json, json_data, index]


def _tree(
    whole: Mapping[str, Any], names: Sequence[str], box: PixelBox, schema: str
) -> dict[str, Any]:
    if any(not isinstance(whole.get(name.lower()), dict) for name in names):
        raise UnknownFormError
    parts = {name.lower(): _part(whole[name.lower()], box) for name in names}
    kept = {"sky_projection": whole.get("sky_projection"), "metadata": whole.get("metadata", {})}
    if len(names) == 1:
        return {**parts["image"], **kept, "schema_url": schema}
    versions = {"schema_version": "1.0.0", "min_read_version": 1}
    return {**versions, **parts, **kept, "schema_url": schema}


def _part(plane: Mapping[str, Any], box: PixelBox) -> dict[str, Any]:
    """Return the description of the part of a plane."""
    rows, columns = box
    shape = [rows.stop - rows.start, columns.stop - columns.start]
    y0, x0 = plane["yx0"]
    data = plane["data"]
    if isinstance(data, list):
        if len(data) != 1:
            raise UnknownFormError
        cut: Any = [{**data[0], "shape": shape}]
    else:
        cut = {**data, "value": {**data["value"], "shape": shape}}
    return {**plane, "data": cut, "yx0": [y0 + rows.start, x0 + columns.start]}


def _plane_cards(plane: Plane, box: PixelBox) -> list[str]:
    rows, columns = box
    table = plane.table
    floating = table.floating if table is not None else plane.header["BITPIX"] < 0
    head = [
        _card("XTENSION", "IMAGE"),
        _card("BITPIX", -32 if floating else 32),
        _card("NAXIS", 2),
        _card("NAXIS1", columns.stop - columns.start),
        _card("NAXIS2", rows.stop - rows.start),
        _card("PCOUNT", 0),
        _card("GCOUNT", 1),
        _card("EXTNAME", plane.name),
    ]
    return [*head, *_moved(plane, box)]


def _moved(plane: Plane, box: PixelBox) -> list[str]:
    """Return the cards of a plane with the reference pixels of every WCS moved."""
    starts = box[0].start, box[1].start
    moved = list(plane.cards)
    for r in plane.references:
        moved[r.number] = _card(r.name, r.value + r.sign * starts[r.axis], r.comment)
    return moved


@lru_cache(maxsize=256)
def _kept_cards(cards: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(line for line in cards if line[:8].strip() not in _NOT_KEPT)


def _primary_head(addresses: tuple[int, int, int, int]) -> list[str]:
    head = [_card("SIMPLE", True), _card("BITPIX", 8), _card("NAXIS", 0), _card("EXTEND", True)]
    values = (1, *addresses)
    comments = (
        "FITS container layout version.",
        "Offset in bytes to the HDU index.",
        "Size of the HDU index.",
        "Offset in bytes to the JSON tree HDU.",
        "Size of the JSON tree HDU.",
    )
    return head + [
        _card(name, value, comment)
        for name, value, comment in zip(_ADDRESSES, values, comments, strict=False)
    ]


def _index(rows: Sequence[tuple[str, int, str, bytes, int, int, int]]) -> bytes:
    width = max(len(row[0]) for row in rows)
    columns = [("EXTNAME", f"{width}A"), *zip(_INDEX, _INDEX_FORMS, strict=True)]
    kind = np.dtype(
        [
            ("EXTNAME", f"S{width}"), ("EXTVER", ">i4"), ("XTENSION", "S8"), ("ZIMAGE", "S1"),
            ("HDRADDR", ">i8"), ("DATADDR", ">i8"), ("DATSIZE", ">i8"),
        ]
    )  # fmt: skip
    data = np.array([(row[0].encode(), row[1], row[2].encode(), *row[3:]) for row in rows], kind)
    return _table(columns, "INDEX", kind.itemsize, len(rows), 0) + _padded(data.tobytes(), b"\0")


def _table(
    columns: Sequence[tuple[str, str]], name: str, width: int, rows: int, heap: int
) -> bytes:
    cards = [
        _card("XTENSION", "BINTABLE"),
        _card("BITPIX", 8),
        _card("NAXIS", 2),
        _card("NAXIS1", width),
        _card("NAXIS2", rows),
        _card("PCOUNT", heap),
        _card("GCOUNT", 1),
        _card("TFIELDS", len(columns)),
    ]
    for n, (column, form) in enumerate(columns, 1):
        cards += [_card(f"TTYPE{n}", column), _card(f"TFORM{n}", form)]
    return _header([*cards, _card("EXTNAME", name)])


def _card(name: str, value: str | float, comment: str = "") -> str:
    if isinstance(value, bool):
        text = ("T" if value else "F").rjust(20)
    elif isinstance(value, str):
        text = f"'{value:<8}'".ljust(20)
    else:
        text = repr(value).upper().rjust(20)
    card = f"{name:<8}= {text}"
    return (f"{card} / {comment}" if comment else card).ljust(_CARD)[:_CARD]


def _header(cards: Iterable[str]) -> bytes:
    return _padded("".join([*cards, "END".ljust(_CARD)]).encode("ascii", "replace"), b" ")


def _padded(content: bytes, filler: bytes) -> bytes:
    return content + filler * (-len(content) % _BLOCK)
