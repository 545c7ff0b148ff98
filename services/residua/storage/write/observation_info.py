"""Observations as ``lsst.images`` and FITS headers state them."""

import math
from datetime import datetime
from typing import Any

import astropy.units as u
from astro_metadata_translator import ObservationInfo
from astropy.coordinates import Angle, EarthLocation, SkyCoord
from astropy.io.fits import Header
from astropy.time import Time

from residua.instruments import Instrument
from residua.ports import Observation
from residua.storage.forms.archive import EPOCH

__all__ = ["file_date", "observation_cards", "observation_info", "set_card"]


def observation_info(observation: Observation, instrument: Instrument) -> Any:
    """Return the observation as an `~astro_metadata_translator.ObservationInfo`."""
    weather = observation.weather
    values: dict[str, Any] = {
        "telescope": observation.facility_name,
        "instrument": observation.instrument,
        "location": _location(instrument),
        "exposure_id": observation.visit,
        "visit_id": observation.visit,
        "physical_filter": observation.physical_filter,
        "datetime_begin": _time(observation.begin_tai),
        "datetime_end": _time(observation.end_tai),
        "exposure_time": _quantity(observation.exposure_time, u.s),
        "boresight_airmass": observation.airmass,
        "detector_num": observation.detector,
        "detector_name": instrument.detectors.get(observation.detector),
        "object": observation.target_name,
        "observing_day": observation.day_obs,
        "observation_type": "science",
        "observation_id": f"{observation.instrument}_{observation.visit}",
    }
    if weather is not None:
        values["temperature"] = (
            None if weather.temperature is None else (weather.temperature + 273.15) * u.K
        )
        values["pressure"] = _quantity(weather.pressure, u.Pa)
        values["relative_humidity"] = weather.relative_humidity
    if observation.boresight is not None:
        values["tracking_radec"] = SkyCoord(*observation.boresight, unit="deg", frame="icrs")
    if observation.rotation_angle is not None:
        values["boresight_rotation_angle"] = Angle(observation.rotation_angle, u.deg)
        values["boresight_rotation_coord"] = "sky"
    return ObservationInfo(**{k: v for k, v in values.items() if v is not None})


def _location(instrument: Instrument) -> EarthLocation | None:
    if instrument.latitude is None or instrument.longitude is None:
        return None
    return EarthLocation.from_geodetic(
        instrument.longitude, instrument.latitude, instrument.height or 0.0
    )


def _time(value: datetime | None) -> Time | None:
    return None if value is None else Time(value, scale="tai")


def _quantity(value: float | None, unit: Any) -> Any:
    return None if value is None else value * unit


def file_date(observation: Observation) -> datetime:
    """Return the UTC end (else begin) of the observation, whole milliseconds."""
    tai = observation.end_tai or observation.begin_tai
    if tai is None:
        return EPOCH
    utc: datetime = Time(tai, scale="tai").utc.to_datetime()
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def observation_cards(header: Header, observation: Observation) -> None:
    """Add the cards that FITS users expect to a primary header; unknown values are left out."""
    o = observation
    set_card(header, "TELESCOP", o.facility_name, "Observatory and telescope")
    set_card(header, "INSTRUME", o.instrument, "Instrument")
    set_card(header, "VISIT", o.visit, "Visit number")
    set_card(header, "DETECTOR", o.detector, "Detector number")
    set_card(header, "OBSID", f"{o.instrument}_{o.visit}", "Observation")
    set_card(header, "DAYOBS", str(o.day_obs), "Observing day, YYYYMMDD")
    set_card(header, "OBJECT", o.target_name, "Target or field")
    set_card(header, "FILTER", o.physical_filter, "Physical filter")
    set_card(header, "BAND", o.band, "Band")
    begin, end = o.begin_tai, o.end_tai
    if begin is not None or end is not None:
        set_card(header, "TIMESYS", "TAI", "Time scale of all dates but DATE")
    if begin is not None:
        set_card(header, "DATE-OBS", begin.isoformat(timespec="milliseconds"), "[TAI] Start")
        set_card(header, "DATE-BEG", begin.isoformat(timespec="milliseconds"), "[TAI] Start")
        set_card(header, "MJD-OBS", float(Time(begin, scale="tai").mjd), "[d] Start, TAI")
    if end is not None:
        set_card(header, "DATE-END", end.isoformat(timespec="milliseconds"), "[TAI] End")
        set_card(header, "MJD-END", float(Time(end, scale="tai").mjd), "[d] End, TAI")
    if begin is not None and end is not None:
        middle = begin + (end - begin) / 2
        set_card(header, "DATE-AVG", middle.isoformat(timespec="milliseconds"), "[TAI] Middle")
    set_card(header, "EXPTIME", o.exposure_time, "[s] Exposure time")
    set_card(header, "AIRMASS", o.airmass, "Airmass")
    if o.weather is not None:
        set_card(header, "AIRTEMP", o.weather.temperature, "[deg C] Air temperature")
        set_card(header, "PRESSURE", o.weather.pressure, "[Pa] Air pressure")
        set_card(header, "HUMIDITY", o.weather.relative_humidity, "[%] Relative humidity")


def set_card(header: Header, key: str, value: str | float | None, comment: str) -> None:
    """Set a header card; `None` and values that are not finite leave no card."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return
    if isinstance(value, str):
        # FITS headers are ASCII.
        value = value.encode("ascii", "replace").decode()
    header[key] = (value, comment)
