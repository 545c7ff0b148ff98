"""Observation metadata from FITS cards: standard FITS, Rubin, DECam and common pipelines."""

import math
import re
from datetime import datetime, timedelta

from astropy.io.fits import Header
from astropy.time import Time

from residua.instruments import InstrumentRegistry
from residua.storage.read.metadata import UNKNOWN_DAY, FileMetadata, naive_tai
from residua_schemas import Weather

__all__ = ["metadata_from_header"]

_DATA_ID = "LSST BUTLER DATAID"


def metadata_from_header(header: Header, instruments: InstrumentRegistry) -> FileMetadata:
    """Read the cards that standard FITS, Rubin, DECam and common pipelines use.

    Times are converted from ``TIMESYS`` (UTC if absent) to TAI. Temperature is taken as
    Celsius; pressure below 2000 as hPa (DECam's card says Torr and holds hPa), else Pa;
    humidity as per cent.
    """
    names = (
        f"{_DATA_ID} INSTRUMENT",
        "INSTRUME",
        "CAMERA",
        "FPA",
        "DETECTOR",
        "FILTER",
        "TELESCOP",
        "CAMNAME",
    )
    words = " ".join(str(header[n]) for n in names if n in header)
    instrument = instruments.recognise(words) or _name(_text(header, "INSTRUME", "CAMERA"))
    known = instruments.get(instrument) if instrument else None
    physical_filter = _text(
        header, f"{_DATA_ID} PHYSICAL_FILTER", "FILTER", "FILTNAM", "FILTER1", "FILTNAME", "FILTERS"
    )
    band = _text(header, f"{_DATA_ID} BAND", "BAND")
    if known and physical_filter and (f := known.find_filter(physical_filter)):
        band, physical_filter = band or f.band, f.physical_filter
    begin, end, exposure_time = _times(header)
    ra, dec = _position(header)
    return FileMetadata(
        instrument=instrument,
        visit=_integer(header, "VISIT", "EXPNUM", "EXPID", "IDNUM", f"{_DATA_ID} VISIT"),
        detector=_integer(
            header, "DETECTOR", "CCDNUM", "CCD", "CHIPID", "DETNUM", f"{_DATA_ID} DETECTOR"
        ),
        day_obs=_day_obs(header),
        band=_band(band or physical_filter),
        physical_filter=physical_filter[:32] if physical_filter else None,
        facility_name=known.facility_name if known else _text(header, "TELESCOP", "OBSERVAT"),
        target_name=(_text(header, "OBJECT", "FIELD") or "")[:32] or None,
        begin_tai=begin,
        end_tai=end,
        exposure_time=exposure_time,
        airmass=_airmass(header),
        weather=_weather(header),
        boresight=None if ra is None or dec is None else (ra, dec),
        rotation_angle=_number(header, "ROTPA"),
        skymap=_text(header, "SKYMAP", f"{_DATA_ID} SKYMAP"),
        tract=_integer(header, "TRACT", f"{_DATA_ID} TRACT"),
        patch=_integer(header, "PATCH", f"{_DATA_ID} PATCH"),
    )


def _text(header: Header, *keys: str) -> str | None:
    for key in keys:
        value = header.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _number(header: Header, *keys: str) -> float | None:
    for key in keys:
        value = header.get(key)
        try:
            number = float(value) if not isinstance(value, bool) and value is not None else None
        except (TypeError, ValueError):
            continue
        if number is not None and math.isfinite(number):
            return number
    return None


def _integer(header: Header, *keys: str) -> int | None:
    for key in keys:
        value = header.get(key)
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, str) and not re.fullmatch(r"\s*\d+\s*", value):
            continue
        if isinstance(value, int | float | str) and float(value) >= 0 and float(value) % 1 == 0:
            return int(value)
    return None


def _name(text: str | None) -> str | None:
    # An instrument name becomes part of keys and paths: see the pattern of VisitDetector.
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", text or "").strip("-_")[:32]
    return cleaned or None


def _band(text: str | None) -> str | None:
    if not text:
        return None
    first = re.split(r"[\s_.]", text.strip(), maxsplit=1)[0]
    cleaned = re.sub(r"[^A-Za-z0-9_+-]+", "", first)[:10]
    return cleaned or None


def _times(header: Header) -> tuple[datetime | None, datetime | None, float | None]:
    exposure_time = _number(header, "EXPTIME", "EXPOSURE", "XPOSURE")
    scale = (_text(header, "TIMESYS") or "UTC").casefold()
    scale = scale if scale in Time.SCALES else "utc"
    begin = _time(header, ("DATE-BEG", "DATE-OBS"), ("MJD-BEG", "MJD-OBS"), scale)
    end = _time(header, ("DATE-END",), ("MJD-END",), scale)
    middle = _time(header, ("DATE-AVG",), ("MJD-AVG",), scale)
    if begin is None and middle is not None and exposure_time is not None:
        begin = middle - timedelta(seconds=exposure_time / 2.0)
    if begin is not None and end is not None and end < begin:
        end = None
    return begin, end, exposure_time


def _time(
    header: Header, dates: tuple[str, ...], mjds: tuple[str, ...], scale: str
) -> datetime | None:
    for key in dates:
        text = _text(header, key)
        # A date without a time of day is worth less than an MJD.
        if text and "T" in text:
            try:
                return naive_tai(Time(text, format="isot", scale=scale))
            except ValueError:
                continue
    mjd = _number(header, *mjds)
    if mjd is not None and mjd > 0.0:
        return naive_tai(Time(mjd, format="mjd", scale=scale))
    for key in dates:
        text = _text(header, key)
        clock = _text(header, "UTC-OBS", "UT", "TIME-OBS")
        if text and clock and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            try:
                return naive_tai(Time(f"{text}T{clock}", format="isot", scale=scale))
            except ValueError:
                continue
    return None


def _day_obs(header: Header) -> int | None:
    value = _integer(header, f"{_DATA_ID} DAY_OBS", "DAYOBS", "DAY_OBS")
    if value is None and (text := _text(header, "DAYOBS")) and re.fullmatch(r"[\d-]{8,10}", text):
        value = int(text.replace("-", ""))
    return value if value is not None and UNKNOWN_DAY <= value <= 99991231 else None


def _airmass(header: Header) -> float | None:
    value = _number(header, "AIRMASS", "BORE-AIRMASS", "AMSTART")
    return value if value is not None and value >= 1.0 else None


def _weather(header: Header) -> Weather | None:
    pressure = _number(header, "PRESSURE", "AIRPRESS")
    if pressure is not None and pressure < 2000.0:
        pressure *= 100.0
    weather = Weather(
        temperature=_number(header, "AIRTEMP", "OUTTEMP", "AMBTEMP", "TEMPAIR"),
        pressure=pressure,
        relative_humidity=_number(header, "HUMIDITY", "RELHUM"),
    )
    return weather if weather != Weather() else None


def _position(header: Header) -> tuple[float | None, float | None]:
    ra, dec = (
        _number(header, "RA_DEG", "BORE-RA", "RA_EXP", "RA"),
        _number(header, "DEC_DEG", "BORE-DEC", "DEC_EXP", "DEC"),
    )
    if ra is None or dec is None:
        ra, dec = _sexagesimal(_text(header, "RA")), _sexagesimal(_text(header, "DEC"))
        ra = None if ra is None else ra * 15.0
    if ra is None or dec is None or not -90.0 <= dec <= 90.0:
        return None, None
    return ra % 360.0, dec


def _sexagesimal(text: str | None) -> float | None:
    match = re.fullmatch(r"([+-]?)(\d+)[:\s](\d+)[:\s](\d+(?:\.\d*)?)", (text or "").strip())
    if match is None:
        return None
    sign, whole, minutes, seconds = match.groups()
    value = int(whole) + int(minutes) / 60.0 + float(seconds) / 3600.0
    return -value if sign == "-" else value
