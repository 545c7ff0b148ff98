"""Dimension records of the daf_butler universe from events, without the observatory's packages.

Rows are what ``insertDimensionData`` takes. The same events give the same rows, whoever writes
them first, so that "skip existing" is enough for many writers.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from astropy.time import Time
from lsst.daf.butler import Timespan
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from residua.instruments import Instrument, InstrumentRegistry
from residua_schemas import DifferenceImageCreated, SkyPolygon, TemplateCoadd

__all__ = [
    "INSERTION_ORDER",
    "DimensionRows",
    "Registrable",
    "convex_polygon",
    "difference_image_rows",
    "instrument_rows",
    "merge_rows",
    "template_rows",
]

type Row = dict[str, Any]
type DimensionRows = dict[str, list[Row]]
"""Rows by dimension element."""
type Registrable = DifferenceImageCreated | TemplateCoadd
"""The events that make a dataset known."""

INSERTION_ORDER = (
    "instrument",
    "physical_filter",
    "detector",
    "visit_system",
    "day_obs",
    "group",
    "exposure",
    "visit",
    "visit_system_membership",
    "visit_definition",
    "visit_detector_region",
    "skymap",
    "tract",
    "patch",
)
"""Dimension elements, each after those it refers to."""

# The observatory's own classes, so that a stack which opens the repository finds them.
_CLASS_NAMES = {
    "LSSTCam": "lsst.obs.lsst.LsstCam",
    "LSSTComCam": "lsst.obs.lsst.LsstComCam",
    "DECam": "lsst.obs.decam.DarkEnergyCamera",
}
_OTHER_CLASS_NAME = "residua.instruments.Instrument"
# Every visit of Residua is one exposure.
_VISIT_SYSTEM = {"id": 0, "name": "one-to-one"}
_KEYS: dict[str, tuple[str, ...]] = {
    "instrument": ("name",),
    "physical_filter": ("instrument", "name"),
    "group": ("instrument", "name"),
    "skymap": ("name",),
    "visit_system_membership": ("instrument", "visit", "visit_system"),
    "visit_definition": ("instrument", "exposure", "visit"),
    "visit_detector_region": ("instrument", "visit", "detector"),
    "tract": ("skymap", "id"),
    "patch": ("skymap", "tract", "id"),
}
_KEYS_OF_THE_REST = ("instrument", "id")


def instrument_rows(instrument: Instrument) -> DimensionRows:
    """Rows of an instrument, all its filters and detectors, and the visit system."""
    name = instrument.name
    return {
        "instrument": [
            {
                "name": name,
                "class_name": _CLASS_NAMES.get(name, _OTHER_CLASS_NAME),
                "detector_max": max(instrument.detectors, default=-1) + 1 or None,
                "visit_system": _VISIT_SYSTEM["id"],
            }
        ],
        "physical_filter": [
            {"instrument": name, "name": f.physical_filter, "band": f.band}
            for f in instrument.filters
        ],
        "detector": [
            _detector_row(name, number, full_name)
            for number, full_name in instrument.detectors.items()
        ],
        "visit_system": [{"instrument": name, **_VISIT_SYSTEM}],
    }


def difference_image_rows(
    event: DifferenceImageCreated, instruments: InstrumentRegistry
) -> DimensionRows:
    """Rows that the data id of a difference image needs.

    The visit's own region is not among them: an event knows the footprint of one detector;
    `grow_regions` makes the visit's of them.

    Raises
    ------
    ValueError
        The region is no polygon of positive area.
    """
    name = event.visit_detector.instrument
    visit, number = event.visit_detector.visit, event.visit_detector.detector
    instrument = instruments.get(name)
    timespan = _timespan(event)
    sequence_number = _sequence_number(visit, event.day_obs)
    common = {
        "instrument": name,
        "id": visit,
        "physical_filter": event.physical_filter,
        "day_obs": event.day_obs,
        "exposure_time": event.exposure_time,
        "target_name": event.target_name,
        "zenith_angle": _zenith_angle(event.airmass),
        "timespan": timespan,
    }
    return {
        "physical_filter": [
            {"instrument": name, "name": event.physical_filter, "band": event.band}
        ],
        "detector": [_detector_row(name, number, instrument.detectors.get(number, str(number)))],
        "day_obs": [
            {
                "instrument": name,
                "id": event.day_obs,
                "timespan": _day_timespan(event.day_obs, instrument.day_obs_offset),
            }
        ],
        "group": [{"instrument": name, "name": str(visit)}],
        "exposure": [
            {
                **common,
                "obs_id": str(visit),
                "group": str(visit),
                "observation_type": "science",
                "seq_num": sequence_number,
                "seq_start": sequence_number,
                "seq_end": sequence_number,
                "can_see_sky": True,
            }
        ],
        "visit": [{**common, "name": str(visit), "seq_num": sequence_number}],
        "visit_system_membership": [
            {"instrument": name, "visit": visit, "visit_system": _VISIT_SYSTEM["id"]}
        ],
        "visit_definition": [{"instrument": name, "visit": visit, "exposure": visit}],
        "visit_detector_region": [
            {
                "instrument": name,
                "visit": visit,
                "detector": number,
                "region": convex_polygon(event.region),
            }
        ],
    }


def template_rows(event: TemplateCoadd, columns: Callable[[str], int | None]) -> DimensionRows:
    """Rows that the data id of a template coadd needs.

    Parameters
    ----------
    event
        The template coadd.
    columns
        Patches in a row of the tract's grid, by sky map, where the repository knows them. The
        event does not say; unknown grids count as one row.

    Raises
    ------
    ValueError
        The region is no polygon of positive area.
    """
    across = columns(event.skymap)
    cell_y, cell_x = divmod(event.patch, across) if across else (0, event.patch)
    return {
        # The hash stands for the sky map's parameters, which only its name tells us.
        "skymap": [{"name": event.skymap, "hash": hashlib.sha1(event.skymap.encode()).digest()}],  # noqa: S324 an identifier
        "tract": [{"skymap": event.skymap, "id": event.tract}],
        "patch": [
            {
                "skymap": event.skymap,
                "tract": event.tract,
                "id": event.patch,
                "cell_x": cell_x,
                "cell_y": cell_y,
                "region": convex_polygon(event.region),
            }
        ],
    }


def merge_rows(parts: Iterable[DimensionRows]) -> DimensionRows:
    """Join rows, one per key (the last), in the order of insertion and sorted by key.

    One order for all writers, so that two never wait for each other's locks.
    """
    merged: dict[str, dict[tuple[Any, ...], Row]] = {element: {} for element in INSERTION_ORDER}
    for part in parts:
        for element, rows in part.items():
            names = _KEYS.get(element, _KEYS_OF_THE_REST)
            for row in rows:
                merged[element][tuple(row[n] for n in names)] = row
    return {
        element: [rows[key] for key in sorted(rows)] for element, rows in merged.items() if rows
    }


def convex_polygon(region: SkyPolygon) -> ConvexPolygon:
    """Return the polygon as sphgeom's, whichever way round its vertices are given.

    Raises
    ------
    ValueError
        The vertices have no convex hull of positive area.
    """
    vertices: Sequence[UnitVector3d] = [
        UnitVector3d(LonLat.fromDegrees(ra, dec)) for ra, dec in region.vertices
    ]
    try:
        return ConvexPolygon.convexHull(vertices)
    except (ValueError, RuntimeError) as e:
        raise ValueError(f"{region.s_region} is not a convex polygon on the sky: {e}") from e


def _detector_row(instrument: str, number: int, full_name: str) -> Row:
    row = {"instrument": instrument, "id": number, "full_name": full_name, "purpose": "SCIENCE"}
    if raft := re.fullmatch(r"(R\d\d)_(S\w+)", full_name):
        row |= {"raft": raft[1], "name_in_raft": raft[2]}
    return row


def _timespan(event: DifferenceImageCreated) -> Timespan | None:
    begin, end = event.begin_tai, event.end_tai
    if begin is None:
        return None
    if end is None and event.exposure_time is not None:
        end = begin + timedelta(seconds=event.exposure_time)
    return _span(begin, begin if end is None else end)


# astropy's times cost more than all else here, and the detectors of a visit share theirs.
@lru_cache(maxsize=1024)
def _span(begin: datetime, end: datetime) -> Timespan:
    if end <= begin:
        return Timespan.fromInstant(_tai(begin))
    return Timespan(_tai(begin), _tai(end))


def _day_timespan(day_obs: int, offset: float) -> Timespan:
    noon = datetime.strptime(str(day_obs), "%Y%m%d") + timedelta(hours=offset)  # noqa: DTZ007 TAI has no zone
    return _span(noon, noon + timedelta(days=1))


def _tai(time: datetime) -> Time:
    return Time(time, scale="tai")


def _sequence_number(visit: int, day_obs: int) -> int | None:
    # Rubin's visit numbers are the observing day and a five-digit sequence number.
    text, day = str(visit), str(day_obs)
    return int(text[8:]) if len(text) == 13 and text.startswith(day) else None


def _zenith_angle(airmass: float | None) -> float | None:
    # Plane-parallel atmosphere, degrees; Butler asks for an approximate angle.
    return None if airmass is None or airmass < 1 else math.degrees(math.acos(1 / airmass))
