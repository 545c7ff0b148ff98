"""From events to ObsCore rows: pure functions of the event and two names of the site."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from pydantic_core import to_json

from residua.catalog.exposure_columns import Row, exposure_columns, pixel_ucd, wavelengths
from residua.identity import publisher_did, visit_image_dataset_id
from residua.ledger import input_rank
from residua.obscore import COMPUTED_COLUMNS, OBSCORE_COLUMNS
from residua.obscore.texts import row_text
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageOutcome,
    SkyPolygon,
    TemplateCoadd,
)

__all__ = [
    "DATALINK_FORMAT",
    "JsonText",
    "Row",
    "Site",
    "center_of",
    "difference_image_row",
    "place_of",
    "template_coadd_row",
    "template_publisher_did",
    "visit_image_row",
]


class JsonText(str):
    """A JSON column's value that is text already."""

    __slots__ = ()


_NONE = JsonText("[]")
_EMPTY: dict[str, object] = dict.fromkeys(
    (*(c for c in OBSCORE_COLUMNS if c not in COMPUTED_COLUMNS), "day_obs", "preview_uri")
)


DATALINK_FORMAT = "application/x-votable+xml;content=datalink"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Names that belong to the place where the catalog is served.

    Parameters
    ----------
    obs_collection
        Data collection of all rows.
    authority
        IVOA authority of the templates' publisher DIDs.
    embargo_hours
        Hours after the end of an exposure until its pixels are public; 0 states no date.
    data_rights
        ``public``, ``secure`` or ``proprietary``; `None` states nothing.
    """

    obs_collection: str = "Residua"
    authority: str = "org.residua"
    embargo_hours: float = 0.0
    data_rights: str | None = None


def difference_image_row(event: DifferenceImageCreated, site: Site, text: str | None = None) -> Row:
    """Row of a difference image.

    Times become UTC MJD, sizes kB, the footprint its bounding circle; everything the row says
    stands in the event.

    Parameters
    ----------
    text
        The event's JSON as it came; `None` writes it anew.
    """
    if text is None:
        text = event.model_dump_json(exclude_none=True)
    return _row(
        {
            **_image(event.region, event.shape, site, event.obs_publisher_did, event.size_bytes),
            **exposure_columns(event, event.visit_detector, "difference_image", site.embargo_hours),
        },
        {
            "dataset_id": str(event.dataset_id),
            "dataset_type": "difference_image",
            "record_key": event.key.decode(),
            "run": event.run,
            "revision": event.revision,
            "day_obs": event.day_obs,
            "uri": event.uri,
            "checksum": event.checksum,
            "size_bytes": event.size_bytes,
            "preview_uri": event.preview_uri,
            "progenitors": _progenitors(event),
            "event": JsonText(text),
        },
    )


def _progenitors(event: DifferenceImageCreated) -> JsonText:
    found = [
        {"dataset_type": "visit_image", **vars(event.visit_image)},
        *({"dataset_type": "template_coadd", **vars(t)} for t in event.templates),
    ]
    return JsonText(to_json(found).decode())


def visit_image_row(outcome: DifferenceImageOutcome, site: Site) -> Row | None:
    """Row of the visit image an outcome is about; `None` if the event does not describe it.

    One dataset for each visit-detector, whatever the run: that of the newest arrival. Where the
    image brings no PSF, only a created outcome knows the width.
    """
    image = outcome.visit_image_metadata
    if image is None:
        return None
    identity = visit_image_dataset_id(outcome.visit_detector)
    did = publisher_did(site.authority, identity, "visit-images")
    return _row(
        {
            **_image(image.region, image.shape, site, did, image.size_bytes),
            **exposure_columns(image, outcome.visit_detector, "visit_image", site.embargo_hours),
            "calib_level": 2,
        },
        {
            "dataset_id": str(identity),
            "dataset_type": "visit_image",
            "record_key": outcome.key.decode(),
            "run": "",
            "revision": input_rank(outcome),
            "day_obs": image.day_obs,
            "uri": image.uri,
            "checksum": image.checksum,
            "size_bytes": image.size_bytes,
            "progenitors": _NONE,
            "event": JsonText(outcome.arrival.model_dump_json(exclude_none=True)),
        },
    )


def template_coadd_row(event: TemplateCoadd, site: Site) -> Row:
    """Row of a template coadd."""
    did = template_publisher_did(event, site)
    obs_id = row_text(f"{event.skymap}-{event.tract}-{event.patch}-{event.band}", 128)
    return _row(
        {
            **_image(event.region, event.shape, site, did, event.size_bytes),
            "dataproduct_subtype": "lsst.template_coadd",
            "obs_title": f"template_coadd - {event.band} - {event.template_set} {obs_id}",
            "facility_name": row_text(event.facility_name, 128),
            "instrument_name": event.instrument,
            "obs_id": obs_id,
            "s_resolution": event.psf_fwhm,
            **wavelengths(event.band, event.em_min, event.em_max),
            "o_ucd": pixel_ucd(event.unit),
            "lsst_tract": event.tract,
            "lsst_patch": event.patch,
            "lsst_band": event.band,
            "lsst_filter": row_text(event.physical_filter, 32),
        },
        {
            "dataset_id": str(event.dataset_id),
            "dataset_type": "template_coadd",
            "record_key": event.key.decode(),
            "run": "",
            "revision": 0,
            "uri": event.uri,
            "checksum": event.checksum,
            "size_bytes": event.size_bytes,
            "progenitors": _NONE,
            "event": JsonText(event.model_dump_json(exclude_none=True)),
        },
    )


def template_publisher_did(event: TemplateCoadd, site: Site) -> str:
    """IVOA publisher dataset identifier of a template coadd."""
    return publisher_did(site.authority, event.dataset_id, "template-coadds")


def _image(
    region: SkyPolygon, shape: tuple[int, int], site: Site, did: str, size_bytes: int
) -> Row:
    ra, dec, width, outline = place_of(region)
    return {
        "dataproduct_type": "image",
        "calib_level": 3,
        "obs_collection": site.obs_collection,
        "obs_publisher_did": did,
        "access_format": DATALINK_FORMAT,
        "access_estsize": -(-size_bytes // 1000),
        "s_ra": ra,
        "s_dec": dec,
        "s_fov": width,
        "s_region": outline,
        "s_xel1": shape[1],
        "s_xel2": shape[0],
        "data_rights": site.data_rights,
    }


def _row(public: Row, bookkeeping: Row) -> Row:
    row: Row = _EMPTY | public
    row |= bookkeeping
    # Columns stand in one order; an equal event gives an equal text. The event is the last and
    # longest: as it is, not as a JSON string of JSON.
    *plain, event = row.values()
    found = hashlib.sha256(to_json(plain))
    found.update(str(event).encode())
    row["row_hash"] = found.hexdigest()
    return row


def center_of(region: SkyPolygon) -> tuple[float, float]:
    """Right ascension and declination of a footprint's center, degrees."""
    ra, dec, _, _ = place_of(region)
    return ra, dec


@lru_cache(maxsize=1024)
def place_of(region: SkyPolygon) -> tuple[float, float, float, str]:
    """``s_ra, s_dec, s_fov, s_region`` of a footprint; all rows of an image have one."""
    (ra, dec), radius = region.bounding_circle
    return ra, dec, 2.0 * radius, region.s_region
