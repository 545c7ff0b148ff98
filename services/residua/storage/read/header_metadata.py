"""Observation metadata from FITS cards: standard FITS, Rubin, DECam and common pipelines."""

import re

from astropy.io.fits import Header

from residua.instruments import Instrument, InstrumentRegistry
from residua.storage.conventions.file_identity import UNDESCRIBED, instrument_name, read_identity
from residua.storage.conventions.filter_cards import read_filter
from residua.storage.conventions.times import read_times
from residua.storage.conventions.values import integer, number, text
from residua.storage.read.metadata import UNKNOWN_DAY, FileMetadata
from residua.storage.read.translated import translated
from residua_schemas import Weather

__all__ = ["metadata_from_header"]

_DATA_ID = "LSST BUTLER DATAID"
_NOBODY = Instrument(UNDESCRIBED, UNDESCRIBED, generic=True)


def metadata_from_header(
    header: Header,
    instruments: InstrumentRegistry,
    *,
    visit_from: str | None = None,
    detector_from: str | None = None,
) -> FileMetadata:
    """Read the cards that standard FITS, Rubin, DECam and common pipelines use.

    Times are converted from ``TIMESYS`` (UTC if absent) to TAI. Temperature is taken as
    Celsius; pressure below 2000 as hPa (DECam's card says Torr and holds hPa), else Pa;
    humidity as per cent.

    Parameters
    ----------
    header
        Cards of the image and of what it shares with the rest of its file.
    instruments
        Known instruments.
    visit_from, detector_from
        Cards of the identity, see `residua.storage.conventions.file_identity`.
    """
    instrument = instrument_name(header, instruments)
    known = instruments.get(instrument) if instrument else _NOBODY
    spectral = read_filter(header, known)
    times = read_times(header, known.exposure_time_unit)
    ra, dec = _position(header)
    identity = read_identity(
        header, known, times.begin, visit_from=visit_from, detector_from=detector_from
    )
    found = FileMetadata(
        instrument=instrument,
        visit=identity.visit,
        detector=identity.detector,
        day_obs=_day_obs(header),
        band=spectral.band,
        physical_filter=spectral.physical_filter,
        facility_name=_facility(header) if known.generic else known.facility_name,
        target_name=(text(header, "OBJECT", "FIELD") or "")[:32] or None,
        begin_tai=times.begin,
        end_tai=times.end,
        exposure_time=times.exposure_time,
        airmass=_airmass(header),
        weather=_weather(header),
        boresight=None if ra is None or dec is None else (ra, dec),
        rotation_angle=number(header, "ROTPA"),
        skymap=text(header, "SKYMAP", f"{_DATA_ID} SKYMAP"),
        tract=integer(header, "TRACT", f"{_DATA_ID} TRACT"),
        patch=integer(header, "PATCH", f"{_DATA_ID} PATCH"),
        sources={
            "visit": identity.visit_source,
            "detector": identity.detector_source,
            "band": spectral.source,
            "begin_tai": times.source,
            "exposure_time": times.exposure_source,
        },
        notes=(*identity.notes, *spectral.notes, *times.notes),
        problem=times.problem,
    )
    stated = visit_from or detector_from or f"{_DATA_ID} VISIT" in header
    return found if stated else translated(header, found)


def _facility(header: Header) -> str | None:
    names = (text(header, "OBSERVAT"), text(header, "TELESCOP", "FPA.TELESCOPE"))
    distinct = [n for i, n in enumerate(names) if n and n not in names[:i]]
    return ":".join(distinct)[:64] or None


def _day_obs(header: Header) -> int | None:
    value = integer(header, f"{_DATA_ID} DAY_OBS", "DAYOBS", "DAY_OBS", "DAY-OBS")
    day = text(header, "DAYOBS", "DAY-OBS")
    if value is None and day is not None and re.fullmatch(r"\d{4}-?\d\d-?\d\d", day):
        value = int(day.replace("-", ""))
    return value if value is not None and UNKNOWN_DAY <= value <= 99991231 else None


def _airmass(header: Header) -> float | None:
    value = number(header, "AIRMASS", "BORE-AIRMASS", "AMSTART")
    return value if value is not None and value >= 1.0 else None


def _weather(header: Header) -> Weather | None:
    pressure = number(header, "PRESSURE", "AIRPRESS")
    if pressure is not None and pressure < 2000.0:
        pressure *= 100.0
    weather = Weather(
        temperature=number(header, "AIRTEMP", "OUTTEMP", "AMBTEMP", "TEMPAIR"),
        pressure=pressure,
        relative_humidity=number(header, "HUMIDITY", "RELHUM"),
    )
    return weather if weather != Weather() else None


def _position(header: Header) -> tuple[float | None, float | None]:
    ra, dec = (
        number(header, "RA_DEG", "BORE-RA", "RA_EXP", "RA"),
        number(header, "DEC_DEG", "BORE-DEC", "DEC_EXP", "DEC"),
    )
    if ra is None or dec is None:
        ra, dec = _sexagesimal(text(header, "RA")), _sexagesimal(text(header, "DEC"))
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
