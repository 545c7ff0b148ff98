"""Observation metadata: from FITS cards and from ``lsst.images``' observation information."""

import hashlib
import math
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import astropy.units as u
from astropy.io.fits import Header
from astropy.time import Time

from residua.instruments import InstrumentRegistry
from residua.ports import Observation
from residua_schemas import VisitArrival, Weather

__all__ = [
    "UNKNOWN_DAY",
    "FileMetadata",
    "derived_visit",
    "metadata_from_header",
    "metadata_from_obs_info",
    "observation",
]

UNKNOWN_DAY = 19000101
"""day_obs of an exposure whose date nobody knows."""

_UNKNOWN_INSTRUMENT = "Unknown"


@dataclass(frozen=True)
class FileMetadata:
    """What a file says about its observation; `None` where it says nothing.

    Units and frames as in `residua.ports.Observation`.
    """

    instrument: str | None = None
    visit: int | None = None
    detector: int | None = None
    day_obs: int | None = None
    band: str | None = None
    physical_filter: str | None = None
    facility_name: str | None = None
    target_name: str | None = None
    begin_tai: datetime | None = None
    end_tai: datetime | None = None
    exposure_time: float | None = None
    airmass: float | None = None
    weather: Weather | None = None
    boresight: tuple[float, float] | None = None
    rotation_angle: float | None = None
    skymap: str | None = None
    tract: int | None = None
    patch: int | None = None
    extra: dict[str, str] = field(default_factory=dict)


def metadata_from_header(header: Header, instruments: InstrumentRegistry) -> FileMetadata:
    """Read the cards that standard FITS, Rubin, DECam and common pipelines use.

    Times are converted from ``TIMESYS`` (UTC if absent) to TAI. Temperature is taken as
    Celsius; pressure below 2000 as hPa (DECam's card says Torr and holds hPa), else Pa;
    humidity as per cent.
    """
    names = ("INSTRUME", "CAMERA", "FPA", "DETECTOR", "FILTER", "TELESCOP", "CAMNAME")
    words = " ".join(str(header[n]) for n in names if n in header)
    instrument = instruments.recognise(words) or _name(_text(header, "INSTRUME", "CAMERA"))
    known = instruments.get(instrument) if instrument else None
    physical_filter = _text(header, "FILTER", "FILTNAM", "FILTER1", "FILTNAME", "FILTERS")
    band = _text(header, "BAND")
    if known and physical_filter and (f := known.find_filter(physical_filter)):
        band, physical_filter = band or f.band, f.physical_filter
    begin, end, exposure_time = _times(header)
    ra, dec = _position(header)
    return FileMetadata(
        instrument=instrument,
        visit=_integer(header, "VISIT", "EXPNUM", "EXPID", "LSST BUTLER DATAID VISIT"),
        detector=_integer(
            header, "DETECTOR", "CCDNUM", "CCD", "CHIPID", "DETNUM", "LSST BUTLER DATAID DETECTOR"
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
        skymap=_text(header, "SKYMAP"),
        tract=_integer(header, "TRACT", "LSST BUTLER DATAID TRACT"),
        patch=_integer(header, "PATCH", "LSST BUTLER DATAID PATCH"),
    )


def metadata_from_obs_info(info: Any, band: str | None, detector: int | None) -> FileMetadata:
    """Read an `~astro_metadata_translator.ObservationInfo`."""
    weather = Weather(
        temperature=_celsius(info.temperature),
        pressure=None if info.pressure is None else float(info.pressure.to_value("Pa")),
        relative_humidity=_finite(info.relative_humidity),
    )
    sky = info.tracking_radec
    number = info.detector_num if info.detector_num is not None else detector
    return FileMetadata(
        instrument=info.instrument,
        visit=info.visit_id if info.visit_id is not None else info.exposure_id,
        detector=number,
        day_obs=info.observing_day,
        band=band,
        physical_filter=info.physical_filter,
        facility_name=info.telescope,
        target_name=info.object,
        begin_tai=_naive_tai(info.datetime_begin),
        end_tai=_naive_tai(info.datetime_end),
        exposure_time=None
        if info.exposure_time is None
        else float(info.exposure_time.to_value("s")),
        airmass=_finite(info.boresight_airmass),
        weather=weather if weather != Weather() else None,
        boresight=None if sky is None else (float(sky.icrs.ra.deg), float(sky.icrs.dec.deg)),
        rotation_angle=None
        if info.boresight_rotation_angle is None
        else float(info.boresight_rotation_angle.deg),
    )


def derived_visit(uri: str) -> int:
    """Return a stable visit number for a file whose header has none, from its name.

    At least 10^15, so that it is not mistaken for a camera's number, and below 2^53, so that
    every JSON reader keeps it whole.
    """
    name = PurePosixPath(uri.split("#", 1)[0]).name
    return 10**15 + int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)


def observation(
    arrival: VisitArrival, found: FileMetadata, instruments: InstrumentRegistry
) -> Observation:
    """Merge the arrival's word (believed) with the file's and the instrument's description."""
    visit_detector = arrival.visit_detector
    known = instruments.get(visit_detector.instrument)
    physical_filter = arrival.physical_filter or found.physical_filter
    filter_ = known.find_filter(physical_filter, arrival.band)
    if filter_ is not None and filter_.band != arrival.band:
        filter_ = known.find_filter(None, arrival.band)
    if physical_filter is None:
        physical_filter = filter_.physical_filter if filter_ else arrival.band
    begin = arrival.begin_tai or found.begin_tai
    exposure_time = arrival.exposure_time
    if exposure_time is None:
        exposure_time = found.exposure_time
    end = arrival.end_tai or (found.end_tai if arrival.begin_tai is None else None)
    if end is None and begin is not None and exposure_time is not None:
        end = begin + timedelta(seconds=exposure_time)
    day_obs = arrival.day_obs or found.day_obs
    if day_obs is None and begin is not None:
        day_obs = int((begin - timedelta(hours=known.day_obs_offset)).strftime("%Y%m%d"))
    facility = known.facility_name
    if facility == known.name and found.facility_name:
        facility = found.facility_name
    return Observation(
        instrument=visit_detector.instrument,
        visit=visit_detector.visit,
        detector=visit_detector.detector,
        day_obs=day_obs if day_obs is not None else UNKNOWN_DAY,
        band=arrival.band,
        physical_filter=physical_filter[:32],
        facility_name=facility,
        target_name=arrival.target_name or found.target_name,
        begin_tai=begin,
        end_tai=end,
        exposure_time=exposure_time,
        airmass=arrival.airmass if arrival.airmass is not None else found.airmass,
        weather=arrival.weather or found.weather,
        boresight=found.boresight,
        rotation_angle=found.rotation_angle,
        em_min=filter_.em_min if filter_ else None,
        em_max=filter_.em_max if filter_ else None,
    )


def with_defaults(found: FileMetadata, uri: str) -> FileMetadata:
    """Fill in the identity of a file that does not state it; see `derived_visit`."""
    return replace(
        found,
        instrument=found.instrument or _UNKNOWN_INSTRUMENT,
        visit=found.visit if found.visit is not None else derived_visit(uri),
        detector=found.detector if found.detector is not None else 0,
        band=found.band or "unknown",
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
                return _naive_tai(Time(text, format="isot", scale=scale))
            except ValueError:
                continue
    mjd = _number(header, *mjds)
    if mjd is not None and mjd > 0.0:
        return _naive_tai(Time(mjd, format="mjd", scale=scale))
    for key in dates:
        text = _text(header, key)
        clock = _text(header, "UTC-OBS", "UT", "TIME-OBS")
        if text and clock and re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            try:
                return _naive_tai(Time(f"{text}T{clock}", format="isot", scale=scale))
            except ValueError:
                continue
    return None


def _naive_tai(time: Any) -> datetime | None:
    if time is None:
        return None
    # Whole milliseconds: more is noise of the conversion.
    value: datetime = time.tai.to_datetime()
    whole = (value + timedelta(microseconds=500)).replace(tzinfo=None)
    return whole.replace(microsecond=whole.microsecond // 1000 * 1000)


def _day_obs(header: Header) -> int | None:
    value = _integer(header, "DAYOBS", "DAY_OBS")
    if value is None and (text := _text(header, "DAYOBS")) and re.fullmatch(r"[\d-]{8,10}", text):
        value = int(text.replace("-", ""))
    return value if value is not None and UNKNOWN_DAY <= value <= 99991231 else None


def _airmass(header: Header) -> float | None:
    value = _number(header, "AIRMASS", "AMSTART")
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
        _number(header, "RA_DEG", "RA_EXP", "RA"),
        _number(header, "DEC_DEG", "DEC_EXP", "DEC"),
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


def _celsius(temperature: Any) -> float | None:
    if temperature is None:
        return None
    # Rounded: the archive holds kelvin, and 10.0 C should come back as 10.0.
    return round(float(temperature.to_value("deg_C", equivalencies=u.temperature())), 6)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
