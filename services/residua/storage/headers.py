"""A visit arrival from the first blocks of a FITS file, without its pixels."""

import io
import re
import warnings
from collections.abc import Mapping
from typing import Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from lsst.resources import ResourcePath
from pydantic import ValidationError

from residua.errors import CorruptFileError, ResiduaError, UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.ports import facts_of
from residua.storage.conventions.celestial import celestial_wcs
from residua.storage.conventions.file_identity import derived_visit
from residua.storage.describe import describe_visit_image
from residua.storage.forms.wcs import footprint
from residua.storage.objects import read_start
from residua.storage.read.header_metadata import metadata_from_header
from residua_schemas import SkyPolygon, VisitArrival, VisitDetector

__all__ = ["arrival_from_header"]

_START_BYTES = 512 * 1024
_MOST_HDUS = 8
_OBS_ID = re.compile(r"[A-Z]{2}_[A-Z]_(?P<day>\d{8})_(?P<number>\d{1,6})")


def arrival_from_header(
    location: ResourcePath, known: Mapping[str, str], instruments: InstrumentRegistry
) -> VisitArrival:
    """Build the arrival of a visit image from its headers.

    Only the first 512 KiB are read. Files whose headers do not say who they are (lsst-images
    keeps that in a table at the end) are read whole.

    Parameters
    ----------
    location
        The file.
    known
        What its key tells: instrument, visit, detector (its number or its name), band,
        physical_filter, day_obs, group, and obs_id in Rubin's form (``MC_O_20251120_000123``),
        which stands for visit and day. Taken where the file says nothing.
    instruments
        Known instruments.

    Raises
    ------
    residua.errors.ResiduaError
        Missing, no FITS file, or instrument, visit, detector or band are nowhere.
    residua.errors.TransientError
        The store does not answer.
    """
    uri = str(location.geturl())
    start = read_start(location, _START_BYTES)
    if start[:2] != b"\x1f\x8b" and not start.startswith(b"SIMPLE  ="):
        raise CorruptFileError(
            f"{uri} is not a FITS file: it begins with {start[:9]!r}", size_bytes=len(start)
        )
    values = {} if start[:2] == b"\x1f\x8b" else _from_headers(start, uri, instruments)
    known = {**_from_obs_id(known.get("obs_id")), **known}
    values |= {name: value for name, value in known.items() if values.get(name) is None}
    values.pop("obs_id", None)
    _name_to_number(values, uri, instruments)
    if values.get("visit") is None and values.get("instrument") is not None:
        values["visit"] = derived_visit(uri, values.get("begin_tai"))
    if any(values.get(name) is None for name in ("instrument", "visit", "detector", "band")):
        return _whole(uri, values, instruments)
    return _arrival(uri, values)


def _from_headers(start: bytes, uri: str, instruments: InstrumentRegistry) -> dict[str, Any]:
    header, region = _headers(start, uri)
    found = metadata_from_header(header, instruments)
    group = header.get("GROUPID") or header.get("GROUP_ID")
    found_there = facts_of(found, (*VisitDetector.model_fields, *VisitArrival.model_fields))
    return {**found_there, "region": region, "group": str(group) if group else None}


def _from_obs_id(obs_id: str | None) -> dict[str, str]:
    if obs_id is None or (found := _OBS_ID.fullmatch(obs_id)) is None:
        return {}
    # Five digits of sequence number, as Rubin makes exposure numbers.
    return {"visit": f"{found['day']}{int(found['number']):05d}", "day_obs": found["day"]}


def _name_to_number(values: dict[str, Any], uri: str, instruments: InstrumentRegistry) -> None:
    """Put numbers for the name of a detector, and Butler's name for an instrument's other one."""
    name = values.get("instrument")
    if name is None:
        return
    instrument = instruments.get(str(name))
    if instrument.generic and (known := instruments.recognise(str(name))) is not None:
        instrument = instruments.get(known)
        values["instrument"] = known
    detector = values.get("detector")
    if isinstance(detector, str) and not detector.isdecimal():
        number = instrument.find_detector(detector)
        if number is None:
            raise UnusableImageError(
                f"{uri}: {instrument.name} has no detector named {detector!r:.40}; its "
                "description lists them under detectors"
            )
        values["detector"] = number


def _headers(start: bytes, uri: str) -> tuple[fits.Header, SkyPolygon | None]:
    """Cards of primary header and first image, and the footprint if there is a WCS."""
    whole = fits.Header()
    region = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            with fits.open(io.BytesIO(start), lazy_load_hdus=True) as hdus:
                for number in range(_MOST_HDUS):
                    hdu = hdus[number]
                    for card in hdu.header.cards:
                        if card.keyword not in {"", "COMMENT", "HISTORY"} and (
                            card.keyword not in whole
                        ):
                            whole.append(card)
                    if hdu.is_image and hdu.header.get("NAXIS") == 2:
                        region = _region(hdu.header, uri)
                        break
        except (IndexError, EOFError):
            pass
        except Exception as e:
            # The parser of damaged files raises whatever it trips over.
            raise CorruptFileError(
                f"{uri} cannot be read: {type(e).__name__}: {e}; send it again"
            ) from e
    return whole, region


def _region(header: fits.Header, uri: str) -> SkyPolygon | None:
    try:
        return footprint(celestial_wcs(header, uri)[0], (header["NAXIS2"], header["NAXIS1"]))
    except (ResiduaError, ValueError, KeyError):
        # The worker will say what is wrong, with the whole file before it.
        return None


def _whole(uri: str, known: Mapping[str, Any], instruments: InstrumentRegistry) -> VisitArrival:
    band = known.get("band")
    described = describe_visit_image(uri, band=band, instruments=instruments)
    if described.band == "unknown" or described.visit_detector.instrument == "Unknown":
        raise UnusableImageError(
            f"{uri} names no {'band' if described.band == 'unknown' else 'instrument'}, neither "
            "in its header nor in its key: add the card, or a group to RESIDUA_KEY_PATTERN"
        )
    values = described.model_dump(exclude={"visit_detector"}, exclude_none=True)
    identity = described.visit_detector.model_dump()
    return _arrival(uri, {**known, **values, **{n: known.get(n) or v for n, v in identity.items()}})


def _arrival(uri: str, values: Mapping[str, Any]) -> VisitArrival:
    try:
        identity = VisitDetector.model_validate(
            {name: values[name] for name in ("instrument", "visit", "detector")}
        )
        others = {n: v for n, v in values.items() if n not in VisitDetector.model_fields}
        return VisitArrival.model_validate({**others, "visit_detector": identity, "image_uri": uri})
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnusableImageError(f"{uri} cannot be announced: {where}: {first['msg'][:200]}") from e
