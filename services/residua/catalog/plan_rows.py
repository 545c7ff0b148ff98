"""From announcements, arrivals and outcomes to rows of ``ivoa.obsplan`` (ObsLocTAP 1.0)."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from residua.catalog.rows import Site, place_of
from residua.catalog.utc import utc_mjd
from residua.errors import UnknownInstrumentError
from residua.instruments import InstrumentRegistry
from residua.messaging.records.events import calendar_ms
from residua.obscore.bands import NOMINAL_BANDS
from residua.obscore.texts import row_text
from residua_schemas import (
    DifferenceImageOutcome,
    NextVisit,
    SkyPolygon,
    VisitArrival,
    VisitImageMetadata,
)

__all__ = ["PlanRow", "announced_rows", "arrived_row", "plan_id", "read_row"]

type PlanRow = dict[str, Any]
"""A value for every column of the table `obsplan` but its number."""

ANNOUNCED, ARRIVED, READ = 0, 1, 2
"""How well something is known; the better known is believed, of equals the later."""

_RANK = 1 << 50
_MJD_OF_1970 = 40_587.0
_DAY_MS = 86_400_000.0
_NOON = timedelta(hours=12)
_TAI_MINUS_UTC = timedelta(seconds=37)
_UNIX = datetime(1970, 1, 1)  # noqa: DTZ001 UTC


def announced_rows(event: NextVisit, seen_ms: int, site: Site) -> tuple[PlanRow, ...]:
    """Rows of an announcement: one for each detector that it names, or one for all of them.

    Parameters
    ----------
    seen_ms
        Time of its record, ms since 1970.
    """
    begin = event.begin_tai
    seconds = event.exposure_time
    end = None if begin is None or seconds is None else begin + timedelta(seconds=seconds)
    row = _row(
        event.instrument,
        event.visit,
        event.group,
        ANNOUNCED,
        seen_ms,
        site,
        begin=begin,
        end=end,
        region=event.footprint,
        band=event.band,
        day_obs=event.day_obs,
    ) | {
        "target_name": row_text(event.target_name, 32),
        "t_exptime": seconds,
        "t_resolution": seconds,
        "t_plan_exptime": seconds,
        "lsst_filter": row_text(event.physical_filter, 32),
    }
    if not event.detectors:
        return (row,)
    return tuple(_of_detector(row, detector) | {"planned": 1} for detector in event.detectors)


def arrived_row(event: VisitArrival, seen_ms: int, site: Site) -> PlanRow:
    """Row of an arrival."""
    who = event.visit_detector
    row = _row(
        who.instrument,
        who.visit,
        event.group,
        ARRIVED,
        seen_ms,
        site,
        begin=event.begin_tai,
        end=event.end_tai,
        region=event.region,
        band=event.band,
        day_obs=event.day_obs,
    ) | {
        "target_name": row_text(event.target_name, 32),
        "t_exptime": event.exposure_time,
        "t_resolution": event.exposure_time,
        "lsst_filter": row_text(event.physical_filter, 32),
    }
    return _arrived(row, who.detector)


def read_row(outcome: DifferenceImageOutcome, seen_ms: int, site: Site) -> PlanRow:
    """Row of the arrival that an outcome is about, with what was read of its image."""
    image, who = outcome.visit_image_metadata, outcome.visit_detector
    if image is None:
        return arrived_row(outcome.arrival, seen_ms, site)
    row = _row(
        who.instrument,
        who.visit,
        outcome.arrival.group,
        READ,
        seen_ms,
        site,
        begin=image.begin_tai,
        end=image.end_tai,
        region=image.region,
        band=image.band,
        day_obs=image.day_obs,
    )
    row |= _of_image(image)
    return _arrived(row, who.detector)


def plan_id(instrument: str, visit: int | None, group: str | None, detector: int | None) -> str:
    """Identity of a row: a group's name stands for the visit while that is not known."""
    exposure = f"group {group or ''}" if visit is None else str(visit)
    return f"{instrument}/{exposure}/{'' if detector is None else detector}"


def _of_image(image: VisitImageMetadata) -> PlanRow:
    return {
        "target_name": row_text(image.target_name, 32),
        "s_resolution": image.psf_fwhm,
        "t_exptime": image.exposure_time,
        "t_resolution": image.exposure_time,
        "facility_name": row_text(image.facility_name, 128),
        "lsst_filter": row_text(image.physical_filter, 32),
    }


def _arrived(row: PlanRow, detector: int) -> PlanRow:
    """Complete a row that nobody else holds yet."""
    row["plan_id"] += str(detector)
    row |= {"lsst_detector": detector, "arrived": 1, "execution_status": "Performed"}
    return row


def _of_detector(row: PlanRow, detector: int) -> PlanRow:
    identity = plan_id(row["instrument_name"], row["lsst_visit"], row["lsst_group"], detector)
    return row | {"plan_id": identity, "lsst_detector": detector}


def _row(
    instrument: str,
    visit: int | None,
    group: str | None,
    rank: int,
    seen_ms: int,
    site: Site,
    *,
    begin: datetime | None,
    end: datetime | None,
    region: SkyPolygon | None,
    band: str,
    day_obs: int | None,
) -> PlanRow:
    seen_ms = max(0, calendar_ms(seen_ms))
    seen = _MJD_OF_1970 + seen_ms / _DAY_MS
    first = utc_mjd(begin)
    last = utc_mjd(end)
    start = first if first is not None else last if last is not None else seen
    em_min, em_max = NOMINAL_BANDS.get(band, (None, None))
    ra = dec = fov = outline = power = None
    if region is not None:
        ra, dec, fov, outline = place_of(region)
    if em_min is not None and em_max is not None:
        power = (em_min + em_max) / 2.0 / (em_max - em_min)
    return {
        "plan_id": plan_id(instrument, visit, group, None),
        "t_planning": seen,
        "target_name": None,
        "obs_id": f"{instrument}-{group if visit is None and group else visit}",
        "obs_collection": site.obs_collection,
        "s_ra": ra,
        "s_dec": dec,
        "s_fov": fov,
        "s_region": outline,
        "s_resolution": None,
        "t_min": start,
        "t_max": last if last is not None else start,
        "t_exptime": None,
        "t_resolution": None,
        "em_min": em_min,
        "em_max": em_max,
        "em_res_power": power,
        "o_ucd": "phot.flux.density",
        "pol_states": None,
        "pol_xel": None,
        "facility_name": _facility(instrument),
        "instrument_name": instrument,
        "t_plan_exptime": None,
        "category": "Other",
        "priority": 1,
        "execution_status": "Scheduled",
        "tracking_type": "Sidereal",
        "day_obs": day_obs if day_obs is not None else _day(begin, seen_ms),
        "lsst_visit": visit,
        "lsst_detector": None,
        "lsst_band": band,
        "lsst_filter": None,
        "lsst_group": group,
        "planned": 0,
        "arrived": 0,
        "precedence": rank * _RANK + seen_ms,
    }


def _day(begin_tai: datetime | None, seen_ms: int) -> int:
    """Observing day as Rubin counts it; of what does not say when, that of the record."""
    when = begin_tai
    if when is None:
        when = _UNIX + timedelta(milliseconds=seen_ms)
        # In this order: the last day of the calendar has none after it.
        return int((when - _NOON + _TAI_MINUS_UTC).strftime("%Y%m%d"))
    return int((when - _NOON).strftime("%Y%m%d"))


@lru_cache(maxsize=64)
def _facility(instrument: str) -> str:
    try:
        return InstrumentRegistry().get(instrument).facility_name
    except UnknownInstrumentError:
        return "unknown"
