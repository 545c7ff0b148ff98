"""What cards say about an observation, against astropy's own arithmetic."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time

from residua.instruments import InstrumentRegistry
from residua.storage.read.header_metadata import metadata_from_header

INSTRUMENTS = InstrumentRegistry()


def read(**cards):
    header = fits.Header()
    for key, value in cards.items():
        header[key.replace("__", "-")] = value
    return metadata_from_header(header, INSTRUMENTS)


def positions():
    count, rng = 40, np.random.default_rng(7)
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    # Where signs and carries are lost: declinations within a degree of zero, and RA near 0 h.
    dec[:8], ra[8:12] = rng.uniform(-1, 1, 8), rng.uniform(0, 0.01, 4)
    return SkyCoord(ra, dec, unit="deg")


@pytest.mark.parametrize("separator", [":", " "])
def test_sexagesimal_positions_are_those_of_astropy(separator):
    for place in positions():
        ra, dec = (
            a.to_string(unit=u, sep=separator, precision=4, pad=True, alwayssign=s)
            for a, u, s in ((place.ra, "hourangle", False), (place.dec, "deg", True))
        )
        found = read(RA=ra, DEC=dec).boresight
        assert found is not None, (ra, dec)
        assert place.separation(SkyCoord(*found, unit="deg")).arcsec < 2e-3, (ra, dec, found)


def test_decimal_positions_are_degrees_and_wrap():
    for place in positions()[:20]:
        found = read(RA=place.ra.deg, DEC=place.dec.deg).boresight
        assert found == pytest.approx((place.ra.deg, place.dec.deg))
    assert read(RA=-10.0, DEC=5.0).boresight == pytest.approx((350.0, 5.0))


@pytest.mark.parametrize(
    "cards", [{"RA": 10.0}, {"DEC": 10.0}, {"RA": 10.0, "DEC": 91.0}, {"RA": "x", "DEC": "y"}]
)
def test_half_a_position_or_one_off_the_sky_is_none(cards):
    assert read(**cards).boresight is None


@pytest.mark.parametrize("scale", ["UTC", "TAI", "TT"])
@pytest.mark.parametrize("date", ["2006-01-01T00:00:00", "2016-12-31T23:59:59.5"])
def test_times_become_tai_as_astropy_has_it(scale, date):
    found = read(TIMESYS=scale, DATE__OBS=date, EXPTIME=30.0)
    truth = Time(date, scale=scale.lower()).tai
    miss = Time(found.begin_tai, scale="tai") - truth
    assert abs(miss.sec) < 1e-3
    assert found.exposure_time == 30.0


def test_a_date_alone_is_no_start():
    found = read(DATE__OBS="2026-07-01", EXPTIME=30.0)
    assert found.begin_tai is None
    assert any("2026-07-01" in note for note in found.notes), found.notes


@pytest.mark.parametrize(
    ("value", "pascals"), [(770.0, 77000.0), (1013.25, 101325.0), (77000.0, 77000.0)]
)
def test_pressure_is_pascals(value, pascals):
    assert read(PRESSURE=value).weather.pressure == pytest.approx(pascals)


def test_weather_is_absent_when_no_card_speaks_of_it():
    assert read(AIRMASS=1.2).weather is None
    found = read(OUTTEMP=8.5, HUMIDITY=35.0).weather
    assert (found.temperature, found.relative_humidity, found.pressure) == (8.5, 35.0, None)


@pytest.mark.parametrize(
    ("value", "airmass"), [(1.0, 1.0), (1.37, 1.37), ("1.5", 1.5), (0.0, None), (-1.0, None)]
)
def test_airmasses_below_one_are_placeholders(value, airmass):
    assert read(AIRMASS=value).airmass == airmass


@pytest.mark.parametrize(
    ("cards", "day"),
    [
        ({"DAYOBS": 20261122}, 20261122),
        ({"DAY_OBS": "20261122"}, 20261122),
        ({"DAYOBS": "2026-11-22"}, 20261122),
        ({"DAYOBS": 61000}, None),
        ({}, None),
    ],
)
def test_observing_days(cards, day):
    assert read(**cards).day_obs == day


def test_a_facility_is_named_once():
    assert read(TELESCOP="T1", OBSERVAT="Mt X", INSTRUME="cam").facility_name == "Mt X:T1"
    assert read(TELESCOP="T1", OBSERVAT="T1", INSTRUME="cam").facility_name == "T1"
    assert read(INSTRUME="cam").facility_name is None


def test_an_empty_header_says_nothing_and_invents_nothing():
    found = read()
    said = {
        name: getattr(found, name)
        for name in ("visit", "band", "begin_tai", "exposure_time", "boresight", "airmass", "tract")
    }
    assert set(said.values()) == {None}, said
