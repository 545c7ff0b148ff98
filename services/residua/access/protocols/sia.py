"""SIA version 2: from its parameters to one ADQL query over the ObsCore table."""

import math
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from residua.access.dali.errors import UsageError
from residua.access.dali.formats import FORMATS, format_of
from residua.access.dali.parameters import (
    Parameters,
    documented,
    documented_form,
    parameters_of,
)
from residua.access.protocols.selfdescription import sia_description
from residua.access.work.context import access_of, caller_of, public_url
from residua.access.work.query import answer, max_rows_of, translation_of
from residua.sphere.regions import (
    Circle,
    Polygon,
    Range,
    RegionError,
    parse_region,
)

__all__ = ["PARAMETERS", "router", "sia_adql"]

router = APIRouter(prefix="/sia", tags=["SIA"])

PARAMETERS: tuple[tuple[str, str], ...] = (
    ("POS", "CIRCLE ra dec r, RANGE ra1 ra2 dec1 dec2 or POLYGON ra dec ..., ICRS degrees"),
    ("BAND", "Wavelength interval, m, vacuum"),
    ("TIME", "Time interval, MJD"),
    ("POL", "Polarization state"),
    ("FOV", "Interval of the field of view, deg"),
    ("SPATRES", "Interval of the angular resolution, arcsec"),
    ("SPECRP", "Interval of the spectral resolving power"),
    ("EXPTIME", "Interval of the exposure time, s"),
    ("TIMERES", "Interval of the temporal resolution, s"),
    ("ID", "Publisher dataset identifier"),
    ("COLLECTION", "Collection"),
    ("FACILITY", "Facility"),
    ("INSTRUMENT", "Instrument"),
    ("DPTYPE", "Type of the data product"),
    ("DPSUBTYPE", "Subtype of the data product, as lsst.difference_image"),
    ("CALIB", "Calibration level, 0 to 4"),
    ("TARGET", "Target"),
    ("FORMAT", "Media type of the product"),
    ("MAXREC", "Most rows; 0 describes the service"),
    ("RESPONSEFORMAT", "votable, csv, tsv or parquet"),
)
"""Names and descriptions of all parameters."""

_TEXTS = {
    "ID": "obs_publisher_did", "COLLECTION": "obs_collection", "FACILITY": "facility_name",
    "INSTRUMENT": "instrument_name", "DPTYPE": "dataproduct_type",
    "DPSUBTYPE": "dataproduct_subtype", "TARGET": "target_name", "FORMAT": "access_format",
}  # fmt: skip
_MEASURES = {
    "FOV": "s_fov", "SPATRES": "s_resolution", "SPECRP": "em_res_power", "EXPTIME": "t_exptime",
    "TIMERES": "t_resolution",
}  # fmt: skip
_SPANS = {"BAND": ("em_min", "em_max"), "TIME": ("t_min", "t_max")}
_POLARIZATIONS = frozenset(
    {"I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX", "POLI", "POLA"}
)


@router.get("/query", openapi_extra=documented(PARAMETERS), summary="Find images")
@router.post(
    "/query", openapi_extra=documented_form(PARAMETERS), summary="Find images, parameters in a form"
)
async def query(request: Request) -> Response:
    """Find images by position, time, band and what they are; IVOA SIA 2.0."""
    access = access_of(request)
    caller_of(request).require(access.settings.read_scope)
    parameters = await parameters_of(request)
    form = format_of(parameters.one("RESPONSEFORMAT"))
    max_rows = max_rows_of(access, parameters)
    adql = sia_adql(parameters)
    base = public_url(request)
    if max_rows == 0 and form.suffix == "xml":
        document = sia_description(base, PARAMETERS)
        return Response(document, media_type=FORMATS[0].media_type)
    translation = await translation_of(access, adql, max_rows)
    return await answer(request, access.searches, translation, form, max_rows)


def sia_adql(parameters: Parameters) -> str:
    """Return the query the parameters stand for.

    Values of one parameter are alternatives; parameters narrow each other.

    Raises
    ------
    UsageError
        A value is not what its parameter takes.
    """
    conditions = [
        _any_of(parameters.all("POS"), _position),
        _any_of(parameters.all("POL"), _polarization),
        _any_of(parameters.all("CALIB"), _calibration),
    ]
    for name, column in _TEXTS.items():
        values = parameters.all(name)
        if values:
            conditions.append(f"{column} IN ({', '.join(map(_quoted, values))})")
    for name, column in _MEASURES.items():
        conditions.append(_any_of(parameters.intervals(name), _within(column)))
    for name, (low, high) in _SPANS.items():
        conditions.append(_any_of(parameters.intervals(name), _overlapping(low, high)))
    where = " AND ".join(condition for condition in conditions if condition)
    # Only columns, numbers that were read as such, and quoted texts come here.
    query = "SELECT * FROM ivoa.ObsCore"
    return f"{query} WHERE {where}" if where else query


def _any_of[T](values: Sequence[T], condition: Callable[[T], str]) -> str:
    parts = list(dict.fromkeys(condition(value) for value in values))
    return f"({' OR '.join(parts)})" if parts else ""


def _position(text: str) -> str:
    try:
        region = parse_region(text)
    except RegionError as e:
        raise UsageError(f"POS: {e}") from e
    match region:
        case Circle(ra=ra, dec=dec, radius=radius):
            return f"1 = INTERSECTS(CIRCLE({ra!r}, {dec!r}, {radius!r}), s_region)"
        case Polygon(corners=corners):
            numbers = ", ".join(f"{ra!r}, {dec!r}" for ra, dec in corners)
            return f"1 = INTERSECTS(POLYGON({numbers}), s_region)"
        case Range() as box:
            bounds = f"{box.ra_min!r}, {box.ra_max!r}, {box.dec_min!r}, {box.dec_max!r}"
            return f"1 = INTERSECTS(RESIDUA_RANGE({bounds}), s_region)"
        case _:
            raise UsageError(f"POS {text[:40]!r}: CIRCLE, RANGE and POLYGON are accepted")


def _polarization(state: str) -> str:
    if state.strip().upper() not in _POLARIZATIONS:
        raise UsageError(f"POL {state[:20]!r} is no polarization state")
    return f"pol_states LIKE '%/{state.strip().upper()}/%'"


def _calibration(level: str) -> str:
    if level.strip() not in {"0", "1", "2", "3", "4"}:
        raise UsageError(f"CALIB {level[:20]!r} is not a calibration level from 0 to 4")
    return f"calib_level = {level.strip()}"


def _within(column: str) -> Callable[[tuple[float, float]], str]:
    return _overlapping(column, column)


def _overlapping(low: str, high: str) -> Callable[[tuple[float, float]], str]:
    def condition(interval: tuple[float, float]) -> str:
        parts = [f"{high} IS NOT NULL"]
        if math.isfinite(interval[0]):
            parts.append(f"{high} >= {interval[0]!r}")
        if math.isfinite(interval[1]):
            parts.append(f"{low} <= {interval[1]!r}")
        return f"({' AND '.join(parts)})"

    return condition


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
