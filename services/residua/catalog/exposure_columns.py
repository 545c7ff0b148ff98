"""Columns of `obscore` that tell of an exposure: when, through what, of which visit."""

from datetime import datetime, timedelta
from functools import lru_cache

from residua.catalog.utc import utc_isot, utc_mjd
from residua.obscore.bands import NOMINAL_BANDS
from residua.obscore.texts import row_text
from residua_schemas import DifferenceImageCreated, VisitDetector, VisitImageMetadata

__all__ = ["Row", "exposure_columns", "pixel_ucd", "wavelengths"]

type Row = dict[str, object]
"""Values by the names of columns."""


def exposure_columns(
    event: DifferenceImageCreated | VisitImageMetadata,
    v: VisitDetector,
    dataset_type: str,
    embargo_hours: float,
) -> Row:
    """Return what the rows of all images of one visit-detector have."""
    obs_id = f"{v.instrument}-{v.visit}"
    when, exposure = _of_visit(
        event.band,
        event.physical_filter,
        event.facility_name,
        event.target_name,
        event.begin_tai,
        event.end_tai,
        event.exposure_time,
        event.em_min,
        event.em_max,
        event.unit,
        embargo_hours,
    )
    return {
        **exposure,
        "dataproduct_subtype": f"lsst.{dataset_type}",
        "obs_title": f"{dataset_type} - {event.band} - {obs_id}-{v.detector}{when}",
        "obs_id": obs_id,
        "s_resolution": event.psf_fwhm,
        "instrument_name": v.instrument,
        "lsst_visit": v.visit,
        "lsst_detector": v.detector,
    }


@lru_cache(maxsize=256)
def _of_visit(
    band: str,
    physical_filter: str,
    facility_name: str,
    target_name: str | None,
    begin_tai: datetime | None,
    end_tai: datetime | None,
    exposure_time: float | None,
    em_min: float | None,
    em_max: float | None,
    unit: str,
    embargo_hours: float,
) -> tuple[str, Row]:
    """Return when it began, in words, and what all detectors of a visit have in common."""
    when = f" {utc_isot(begin_tai)}" if begin_tai is not None else ""
    return when, {
        "facility_name": row_text(facility_name, 128),
        "target_name": row_text(target_name, 32),
        "t_min": utc_mjd(begin_tai),
        "t_max": utc_mjd(end_tai),
        "t_exptime": exposure_time,
        "t_resolution": exposure_time,
        **wavelengths(band, em_min, em_max),
        "o_ucd": pixel_ucd(unit),
        "lsst_band": band,
        "lsst_filter": row_text(physical_filter, 32),
        "obs_release_date": _release_date(end_tai, embargo_hours),
    }


def _release_date(end_tai: datetime | None, embargo_hours: float) -> str | None:
    if end_tai is None or not embargo_hours:
        return None
    return utc_isot(end_tai + timedelta(hours=embargo_hours))


def wavelengths(band: str, em_min: float | None, em_max: float | None) -> Row:
    """Return the ends of the band as the event tells them; else what a band of its name has."""
    if em_min is None or em_max is None or em_max <= em_min:
        em_min, em_max = NOMINAL_BANDS.get(band, (None, None))
    if em_min is None or em_max is None:
        return {"em_min": None, "em_max": None, "em_res_power": None}
    power = (em_min + em_max) / 2.0 / (em_max - em_min)
    return {"em_min": em_min, "em_max": em_max, "em_res_power": power}


def pixel_ucd(unit: str) -> str:
    """Return what an image's pixels are: an uncalibrated image stays in its own unit."""
    return "phot.flux.density" if unit.endswith("Jy") else "phot.count"
