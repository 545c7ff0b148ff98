import pytest
from astropy.io.fits import Header

from residua.storage.conventions.values import (
    first_number,
    integer,
    joined,
    number,
    positive,
    text,
    text_cards,
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
