"""Rubin's nextVisit, as the summit sends it and as it is fanned out, and what it announces.

Fields and their meaning are those of the SAL event ``ScriptQueue_logevent_nextVisit`` and of
``lsst-dm/next_visit_fan_out`` (which adds ``detector`` and may write numbers as text).
"""

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from residua.errors import MalformedEventError
from residua.instruments import InstrumentRegistry
from residua.instruments.detector_footprint import detector_footprint
from residua.instruments.filter_names import filter_name
from residua.instruments.model import Instrument
from residua_schemas import NextVisit

__all__ = ["Passed", "SummitVisit", "announcements", "read_summit_visit", "sent_at"]

type Passed = Literal["no_instrument", "no_position", "no_rotation", "no_band", "other_survey"]
"""Why a nextVisit announces nothing here."""

_NONE, _ICRS, _SKY = 1, 2, 2
_COORDINATES = {3: "altitude and azimuth", 4: "of the mount"}
_ROTATIONS = {3: "against the horizon", 4: "of the mount"}
_TAI_MINUS_UTC = 37.0
_EMPTY = "empty"
_UNIX = datetime(1970, 1, 1)  # noqa: DTZ001 TAI
_END_OF_CALENDAR = 253_402_300_799.0
_LONGEST_NAME = 32
_SIZE = re.compile(r"_\d+mm(_\d+)?$")


def _list_of_text(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


class SummitVisit(BaseModel):
    """A nextVisit; fields that nothing here needs are not read.

    Parameters
    ----------
    groupId
        Name of the group of exposures.
    position
        (right ascension, declination) in degrees when ``coordinateSystem`` is 2.
    cameraAngle
        Position angle of the focal plane's y axis, degrees east of north, when
        ``rotationSystem`` is 2.
    filters
        Physical filters, or one band's letter; empty when not known.
    startTime
        When the exposure shall begin, seconds since 1970, TAI; 0 when not known.
    detector
        Of a message that was fanned out.
    private_efdStamp, private_sndStamp
        When it was sent: seconds since 1970, UTC and TAI; 0 where not known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    instrument: str = Field("", max_length=32)
    groupId: str = Field("", max_length=64)  # noqa: N815 SAL's own names
    survey: str = ""
    coordinateSystem: int = _NONE  # noqa: N815
    position: Annotated[tuple[float, ...], BeforeValidator(_list_of_text)] = ()
    rotationSystem: int = _NONE  # noqa: N815
    cameraAngle: float = Field(0.0, allow_inf_nan=False)  # noqa: N815
    filters: str = ""
    startTime: float = 0.0  # noqa: N815
    detector: int | None = Field(None, ge=0)
    private_efdStamp: float = 0.0  # noqa: N815
    private_sndStamp: float = 0.0  # noqa: N815


def read_summit_visit(body: object, place: str) -> SummitVisit:
    """Validate a decoded message.

    Raises
    ------
    MalformedEventError
        It is no nextVisit.
    """
    try:
        visit = SummitVisit.model_validate(body)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise MalformedEventError(f"{place} is no nextVisit: {where}: {first['msg']}") from e
    if "instrument" not in visit.model_fields_set or "filters" not in visit.model_fields_set:
        raise MalformedEventError(f"{place} is no nextVisit: it has no instrument or no filters")
    return visit


def sent_at(visit: SummitVisit) -> float | None:
    """When it was sent, seconds since 1970 UTC, where it says."""
    if visit.private_efdStamp > 0:
        return visit.private_efdStamp
    return visit.private_sndStamp - _TAI_MINUS_UTC if visit.private_sndStamp > 0 else None


def announcements(
    visit: SummitVisit, instruments: InstrumentRegistry, surveys: Sequence[str], place: str
) -> list[NextVisit] | Passed:
    """Return what a nextVisit announces: one event a detector, with its footprint.

    Parameters
    ----------
    surveys
        Surveys that are announced; none given: all.
    place
        Of the record, for errors.

    Raises
    ------
    MalformedEventError
        A coordinate system that cannot be placed on the sky.
    residua.errors.UnknownInstrumentError
        The instrument's description has no camera geometry.
    """
    if not visit.instrument:
        return "no_instrument"
    if surveys and visit.survey not in surveys:
        return "other_survey"
    if visit.coordinateSystem == _NONE:
        return "no_position"
    if visit.coordinateSystem != _ICRS or len(visit.position) != 2:
        given = _COORDINATES.get(visit.coordinateSystem, str(visit.coordinateSystem))
        raise MalformedEventError(
            f"{place} gives coordinates {given} ({list(visit.position)}): send ICRS (2)"
        )
    if not all(map(math.isfinite, visit.position)) or abs(visit.position[1]) > 90.0:
        raise MalformedEventError(
            f"{place} points to {list(visit.position)}, which is no position in ICRS degrees"
        )
    if visit.rotationSystem == _NONE:
        return "no_rotation"
    if visit.rotationSystem != _SKY:
        given = _ROTATIONS.get(visit.rotationSystem, str(visit.rotationSystem))
        raise MalformedEventError(f"{place} gives an angle {given}: send that on the sky (2)")
    instrument = instruments.get(visit.instrument)
    band, physical_filter = _filter(instrument, visit.filters)
    if band is None:
        return "no_band"
    detectors = list(instrument.detector_centers) if visit.detector is None else [visit.detector]
    # A camera without geometry is named by the first footprint that is asked for.
    pointing = (visit.position[0] % 360.0, visit.position[1])
    try:
        return [
            NextVisit(
                instrument=instrument.name,
                detectors=(detector,),
                band=band,
                group=visit.groupId or None,
                physical_filter=physical_filter,
                begin_tai=_begin(visit.startTime),
                region=detector_footprint(instrument, detector, pointing, visit.cameraAngle),
            )
            for detector in detectors or [0]
        ]
    except ValidationError as e:
        raise MalformedEventError(f"{place} cannot be announced: {e.errors()[0]['msg']}") from e


def _begin(seconds: float) -> datetime | None:
    """TAI of a start that is known; what the calendar does not hold is not."""
    if not 0.0 < seconds < _END_OF_CALENDAR:
        return None
    return _UNIX + timedelta(seconds=seconds)


def _filter(instrument: Instrument, filters: str) -> tuple[str | None, str | None]:
    """Band of ``r_57``, of ``SDSSr_65mm~empty`` (filter and grating), of ``r``; and the filter."""
    for name in (part.strip() for part in filters.split("~")):
        if not name or name.casefold() == _EMPTY:
            continue
        known = instrument.find_filter(name)
        if known is not None:
            return known.band, known.physical_filter
        if any(f.band == name for f in instrument.filters):
            return name, None
        found = filter_name(_SIZE.sub("", name))
        if found is not None:
            return found.band, name if len(name) <= _LONGEST_NAME else None
    return None, None
