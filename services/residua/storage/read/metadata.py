"""Observation metadata: what files say, merged with what arrivals say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

import astropy.units as u

from residua.instruments import InstrumentRegistry
from residua.ports import Observation, facts_of
from residua.storage.conventions.file_identity import UNDESCRIBED, derived_visit
from residua.storage.conventions.times import naive_tai
from residua_schemas import VisitArrival, Weather

__all__ = [
    "UNKNOWN_BAND",
    "UNKNOWN_DAY",
    "UNKNOWN_FACILITY",
    "FileMetadata",
    "metadata_from_obs_info",
    "observation",
    "with_defaults",
]

UNKNOWN_DAY = 19000101
"""day_obs of an exposure whose date nobody knows."""

UNKNOWN_BAND = "unknown"
"""Band of an exposure whose filter nobody names."""

UNKNOWN_FACILITY = "Unknown"
"""facility_name of an exposure whose telescope nobody names."""


@dataclass(frozen=True)
class FileMetadata:
    """What a file says about its observation; `None` where it says nothing.

    Units and frames as in `residua.ports.Observation`.

    Parameters
    ----------
    sources
        The card each value comes from, by field; ``name`` for a visit number made of the
        file's name and the start of its exposure.
    notes
        What was assumed, and what was found and not used.
    problem
        Why a visit image that says this must be refused, if it must.
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
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str | None = None


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
        begin_tai=naive_tai(info.datetime_begin),
        end_tai=naive_tai(info.datetime_end),
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


def observation(
    arrival: VisitArrival, found: FileMetadata, instruments: InstrumentRegistry
) -> Observation:
    """Merge the arrival's word (believed) with the file's and the instrument's description."""
    said = facts_of(arrival, VisitArrival.model_fields) | vars(arrival.visit_detector)
    facts = facts_of(found, (f.name for f in fields(FileMetadata)))
    facts |= {name: value for name, value in said.items() if value not in (None, "")}
    known = instruments.get(arrival.visit_detector.instrument)
    physical_filter = facts["physical_filter"]
    filter_ = known.find_filter(physical_filter, arrival.band)
    if filter_ is not None and filter_.band != arrival.band:
        filter_ = known.find_filter(None, arrival.band)
    if physical_filter is None:
        physical_filter = filter_.physical_filter if filter_ else arrival.band
    begin, exposure_time = facts["begin_tai"], facts["exposure_time"]
    end = arrival.end_tai or (found.end_tai if arrival.begin_tai is None else None)
    if end is None and begin is not None and exposure_time is not None:
        end = begin + timedelta(seconds=exposure_time)
    day_obs = facts["day_obs"]
    if day_obs is None and begin is not None:
        day_obs = int((begin - timedelta(hours=known.day_obs_offset)).strftime("%Y%m%d"))
    facility = known.facility_name
    if known.generic:
        facility = found.facility_name or UNKNOWN_FACILITY
    facts |= {
        "day_obs": day_obs if day_obs is not None else UNKNOWN_DAY,
        "physical_filter": physical_filter[:32],
        "facility_name": facility,
        "end_tai": end,
        "em_min": filter_.em_min if filter_ else None,
        "em_max": filter_.em_max if filter_ else None,
    }
    return Observation(**facts)


def with_defaults(found: FileMetadata, uri: str) -> FileMetadata:
    """Fill in the identity of a file that does not state it, see `conventions.identity`."""
    named = found.visit is None
    return replace(
        found,
        instrument=found.instrument or UNDESCRIBED,
        visit=derived_visit(uri, found.begin_tai) if named else found.visit,
        sources={**found.sources, "visit": "name"} if named else found.sources,
        detector=found.detector if found.detector is not None else 0,
        band=found.band or UNKNOWN_BAND,
    )


def _celsius(temperature: Any) -> float | None:
    if temperature is None:
        return None
    # Rounded: the archive holds kelvin, and 10.0 C should come back as 10.0.
    return round(float(temperature.to_value("deg_C", equivalencies=u.temperature())), 6)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
