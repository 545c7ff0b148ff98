import pytest
from astropy.io.fits import Header

from residua.storage.conventions.exposure_times import in_seconds, read_exposure


@pytest.mark.parametrize(
    ("cards", "unit", "truth", "notes"),
    [
        ({"EXPOSURE": "00003", "XPOSURE": 1000.0}, "s", (1000.0, "XPOSURE"), 0),
        ({"EXPOSURE": "00003"}, "s", None, 0),
        ({"EXPTIME": 0.0}, "s", (0.0, "EXPTIME"), 0),
        ({"EXPTIME": 0.0, "EXPOSURE": 12}, "s", (12.0, "EXPOSURE"), 0),
        ({"EXPTIME": -5.0, "EXPOSURE": 12}, "s", (12.0, "EXPOSURE"), 1),
        ({"EXPTIME": 2.0}, "min", (120.0, "EXPTIME"), 0),
        ({"EXPTIME": "30 s"}, "s", None, 1),
        ({}, "s", None, 0),
    ],
)
def test_the_first_card_that_is_an_exposure_time_counts(cards, unit, truth, notes):
    said = []
    assert read_exposure(Header(cards.items()), unit, said) == truth
    assert len(said) == notes


def test_days_show_by_the_span_of_the_exposure():
    said = []
    assert in_seconds(0.0165, 1800.0, "EXPOSURE", said) == pytest.approx(1425.6)
    assert "taken as days" in said[0]
    # Half a second of a second; and a span that is not known.
    assert in_seconds(0.5, 1.0, "EXPTIME", said) == 0.5
    assert in_seconds(0.0165, 0.0, "EXPTIME", said) == 0.0165
    assert len(said) == 1
