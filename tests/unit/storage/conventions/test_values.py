import pytest
from astropy.io.fits import Header

from residua.storage.conventions.values import (
    as_number,
    contradictions,
    first_number,
    integer,
    joined,
    number,
    positive,
    text,
    text_cards,
    unreadable,
)

HEADER = Header(
    {
        "QUOTED": " 2.5 ", "BLANK": "  ", "WORD": " abc ", "FLAG": True, "ZERO": 0.0, "NEG": -3,
        "WHOLE": 12.0, "HALF": 1.5, "DIGITS": "007", "CCD": 3, "QID": 2.0,
    }
)  # fmt: skip


def test_the_first_card_that_holds_something_counts():
    assert text(HEADER, "GONE", "BLANK", "WORD", "QUOTED") == "abc"
    assert text(HEADER, "GONE", "ZERO") is None
    assert number(HEADER, "BLANK", "WORD", "FLAG", "QUOTED", "WHOLE") == 2.5
    assert first_number(HEADER, ("FLAG", "ZERO")) == (0.0, "ZERO")
    assert positive(HEADER, ("ZERO", "NEG", "HALF", "WHOLE")) == (1.5, "HALF")
    assert positive(HEADER, ("ZERO", "NEG")) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("WHOLE", 12), ("DIGITS", 7), ("HALF", None), ("NEG", None), ("FLAG", None), ("QUOTED", None)],
)
def test_whole_numbers(key, value):
    assert integer(HEADER, key) == value


def test_cards_that_are_joined_must_all_be_there():
    assert joined(HEADER, "CCD / QID") == "3/2"
    assert joined(HEADER, "CCD/GONE") is None
    assert joined(HEADER, "FLAG") is None


def test_all_cards_as_text_but_comments():
    header = HEADER.copy()
    header["COMMENT"] = "none"
    assert text_cards(header)["WHOLE"] == "12.0"
    assert "COMMENT" not in text_cards(header)


@pytest.mark.parametrize(
    ("value", "truth"),
    [
        (2, 2.0), (" -1.5D+01 ", -15.0), ("3.d2", 300.0), (".5", 0.5), ("7", 7.0),
        ("1_5", None), ("1,5", None), ("inf", None), ("nan", None), ("", None), ("0x10", None),
        (True, None), (None, None), (float("nan"), None), ("30 s", None),
    ],
)  # fmt: skip
def test_numbers_as_fits_writes_them(value, truth):
    assert as_number(value) == truth


def test_words_and_contradictions_are_said_once_a_card():
    header = Header([("GAIN", "high"), ("ZP", "n/a"), ("BLANK", " "), ("A", 1), ("A", 2), ("B", 3)])
    header.append(("B", 3))
    keys = ("GAIN", "GAIN", "ZP", "BLANK", "A", "B", "GONE")
    assert [note.split(" ", 1)[0] for note in unreadable(header, keys)] == ["GAIN"]
    assert contradictions(header, keys) == ("A is there 2 times (1, 2): the first is taken",)
