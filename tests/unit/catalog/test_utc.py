"""UTC of rows: as astropy has it, leap seconds and the years before them too."""

import random
from datetime import datetime, timedelta

import pytest
from astropy.time import Time

from residua.catalog.utc import utc_isot, utc_mjd


def moments():
    rng = random.Random(1)
    begin = datetime(1961, 1, 2)  # noqa: DTZ001
    for _ in range(300):
        # Not exactly between two milliseconds, where either is right.
        yield begin + timedelta(milliseconds=rng.randrange(80 * 365 * 86_400_000), microseconds=200)
    for year, month in ((1972, 7), (1999, 1), (2017, 1)):
        for seconds in (
            -172_801.3,
            -86_401.3,
            -0.7,
            31.6,
            36.0,
            36.4,
            36.999,
            37.0,
            37.2,
            86_400.1,
        ):
            yield datetime(year, month, 1) + timedelta(seconds=seconds)  # noqa: DTZ001


@pytest.mark.filterwarnings("ignore:.*dubious year.*")
def test_times_are_those_of_astropy():
    for tai in moments():
        expected = Time(tai, scale="tai", precision=3).utc
        assert utc_mjd(tai) == pytest.approx(expected.mjd, abs=2e-11), tai
        assert utc_isot(tai) == f"{expected.isot}Z", tai
    assert utc_mjd(None) is None
