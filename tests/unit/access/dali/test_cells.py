"""Cells of VOTables: what may be escaped once is written as if it were escaped every time."""

import random
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest

from residua.access.adql import ColumnSchema
from residua.access.dali.cells import clean, tabledata_rows, xml_text

TEXTS = [
    "", "plain", "a<b", "a&b", "x>y", "ü☃", "q'\"", "tab\tline\n", "\x00x", "x\ufffey", "\uffff",
    "\U0001f600", "\ud800", "]]>", "".join(map(chr, range(0x20, 0x7F))),
]  # fmt: skip


def test_plain_texts_are_those_that_need_no_escape():
    rng = random.Random(1)
    made = ["".join(chr(rng.randrange(0x300)) for _ in range(8)) for _ in range(500)]
    for text in [*TEXTS, *made]:
        assert xml_text(text) == escape(clean(text)), repr(text)


def test_rows_are_the_cells_one_by_one():
    columns = [ColumnSchema("a", "text"), ColumnSchema("b", "double"), ColumnSchema("c", "long")]
    rows = [(t, x, n) for t in (*TEXTS, None) for x in (0.0, -0.0, 1, 1.5, None) for n in (0, 7)]
    rows += [(None, None, None), ("a<b", -0.0, -(2**63))]
    document = tabledata_rows(columns, rows)
    assert document == b"".join(tabledata_rows(columns, [row]) for row in rows)
    found = ET.fromstring(b"<x>" + document + b"</x>")
    for element, (text, number, whole) in zip(found, rows, strict=True):
        cells = [td.text for td in element]
        assert cells[0] == (clean(text) or None if text is not None else None)
        assert cells[1] == (None if number is None else repr(float(number)))
        assert cells[2] == (None if whole is None else str(whole))
    assert tabledata_rows(columns, []) == b""


@pytest.mark.parametrize("kind", ["int", "long", "double", "text"])
def test_no_value_is_an_empty_cell(kind):
    assert tabledata_rows([ColumnSchema("a", kind)], [(None,)]) == b"<TR><TD/></TR>\n"
