"""When an exposure began, in every form observatories write it; truth by hand, in UTC or TAI."""

import pytest
from astropy.io import fits

from residua.storage.conventions.times import read_times

# 37 s from UTC to TAI in 2026 and 2018, 30 s in 1996.
AT_THREE = "2026-01-05T03:00:37"
D = "2026-01-05T03:00:00"

TIMES = [
    ({"DATE-OBS": D}, AT_THREE),
    ({"DATE-OBS": "2026-01-05 03:00:00"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05T03:00:00Z"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05T05:00:00+02:00"}, AT_THREE),
    ({"DATE-OBS": "2026-01-04T23:30:00-0330"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05T03:00:00.0000000"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05T03:00"}, AT_THREE),
    ({"DATE-OBS": "2026-01-04T24:00:00"}, "2026-01-05T00:00:37"),
    ({"DATE-OBS": D, "TIMESYS": "UTC"}, AT_THREE),
    ({"DATE-OBS": D, "TIMESYS": "TAI"}, D),
    ({"DATE-OBS": D, "TIMESYS": "IAT"}, D),
    ({"DATE-OBS": D, "TIMESYS": "GPS"}, "2026-01-05T03:00:19"),
    ({"DATE-OBS": D, "TIMESYS": "TT"}, "2026-01-05T02:59:27.816000"),
    ({"DATE-OBS": D, "TIMESYS": "TDT"}, "2026-01-05T02:59:27.816000"),
    ({"DATE-OBS": D, "TIMESYS": "ET"}, "2026-01-05T02:59:27.816000"),
    ({"DATE-OBS": D, "TIMESYS": "UTC(NTP)"}, AT_THREE),
    ({"DATE-BEG": D, "DATE-OBS": "2026-01-05T09:00:00"}, AT_THREE),
    ({"MJD-OBS": 61045.125}, AT_THREE),
    ({"MJD-OBS": "61045.125", "DATE-OBS": "2026-01-05"}, AT_THREE),
    ({"OBSMJD": 61045.125}, AT_THREE),
    ({"JD": 2461045.625}, AT_THREE),
    ({"MJD-OBS": 2461045.625}, AT_THREE),
    ({"EXPSTART": 61045.125, "DATE-OBS": "2026-01-05"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05", "TIME-OBS": "03:00:00"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05", "UT": "03:00:00.0"}, AT_THREE),
    ({"DATE-OBS": "05/01/96", "UT": "03:00:00"}, "1996-01-05T03:00:30"),
    ({"DATE-OBS": "2026/01/05", "UTSTART": "03:00:00"}, AT_THREE),
    ({"DATE-OBS": "2026-01-05", "UTC-OBS": D}, AT_THREE),
    ({"DATE-OBS": "1998-09-18", "TAI": 4412830205.5}, "1998-09-18T10:10:05.500000"),
    ({"DATE-AVG": "2026-01-05T03:00:30", "EXPTIME": 60.0}, AT_THREE),
    ({"DATE-OBS": "2026-13-45T03:00:00", "MJD-OBS": 61045.125}, AT_THREE),
    ({}, None),
]


@pytest.mark.parametrize(("cards", "begin"), TIMES, ids=[str(t[0]) for t in TIMES])
def test_the_start_of_an_exposure(cards, begin):
    found = read_times(fits.Header(cards.items()))
    assert found.problem is None
    assert (found.begin.isoformat() if found.begin else None) == begin


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"DATE-OBS": D, "TIMESYS": "LOCAL"}, "TIMESYS is 'LOCAL'"),
        ({"DATE-OBS": D, "TIMESYS": "MARS"}, "TIMESYS is 'MARS'"),
        ({"DATE-OBS": "2026-13-01T00:00:00"}, "DATE-OBS is '2026-13-01T00:00:00'"),
        ({"DATE-OBS": "2026-02-30T00:00:00"}, "DATE-OBS is '2026-02-30T00:00:00'"),
        ({"DATE-OBS": "2026-01-05T25:00:00"}, "no time"),
        ({"DATE-OBS": "0000-00-00T00:00:00"}, "the year 0"),
        ({"MJD-OBS": 9e9}, "MJD-OBS is 9"),
        ({"DATE-OBS": "2026-01-45", "UT": "03:00:00"}, "UT '03:00:00'"),
    ],
)
def test_times_that_cannot_be_are_refused_with_their_card(cards, words):
    found = read_times(fits.Header(cards.items()))
    assert found.begin is None
    assert words in found.problem


@pytest.mark.parametrize(
    "cards", [{"DATE-OBS": "last night"}, {"DATE-OBS": "2026-01-05"}, {"DATE-OBS": "20260105"}]
)
def test_a_time_not_understood_is_said(cards):
    found = read_times(fits.Header(cards.items()))
    assert found.begin is None
    assert any("DATE-OBS is" in note for note in found.notes)


@pytest.mark.parametrize(
    ("cards", "comment", "seconds"),
    [
        ({"EXPTIME": "30.0"}, "", 30.0),
        ({"EXPOSURE": 0.0165}, "[d] time on source", 1425.6),
        ({"EXPTIME": 2.0}, "[min]", 120.0),
        ({"EXPTIME": 500.0}, "[ms] exposure", 0.5),
        ({"EXPTIME": 0.0165, "DATE-OBS": D, "DATE-END": "2026-01-05T03:30:00"}, "", 1425.6),
        ({"EXPTIME": 0.5, "DATE-OBS": D, "DATE-END": "2026-01-05T03:00:01"}, "", 0.5),
        ({"XPOSURE": 1000.0}, "", 1000.0),
        ({"EXPTIME": -1.0}, "", None),
    ],
)
def test_days_are_told_from_seconds(cards, comment, seconds):
    header = fits.Header(cards.items())
    header.comments[next(iter(cards))] = comment
    found = read_times(header).exposure_time
    assert found == (pytest.approx(seconds) if seconds is not None else None)
