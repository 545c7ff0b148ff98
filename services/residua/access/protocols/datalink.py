"""DataLink 1.0: everything that belongs to a dataset."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from residua.access.adql import ColumnSchema
from residua.access.cutouts.modes import CUTOUT_MODES
from residua.access.dali.errors import UsageError
from residua.access.dali.parameters import documented, documented_form, parameters_of
from residua.access.dali.votable import votable
from residua.access.protocols.file_delivery import (
    datasets_of,
    detections_uri,
    no_dataset,
    progenitor_id,
)
from residua.access.rights.release import release_time
from residua.access.work.context import (
    Access,
    access_of,
    caller_of,
    public_url,
)
from residua.access.work.image_place import is_let_go

__all__ = ["router"]

router = APIRouter(prefix="/datalink", tags=["DataLink"])

PARAMETERS = (("ID", "Publisher dataset identifier"), ("RESPONSEFORMAT", "votable"))
_MEDIA_TYPE = "application/x-votable+xml;content=datalink"
_FORMATS = frozenset({"votable", "application/x-votable+xml", "text/xml", _MEDIA_TYPE})
_MOST_IDS = 100
_OUTLINE = 'ucd="pos.outline;obs.field"'

_COLUMNS = (
    ColumnSchema("ID", "text", ucd="meta.id;meta.main"),
    ColumnSchema("access_url", "text", ucd="meta.ref.url"),
    ColumnSchema("service_def", "text", ucd="meta.ref"),
    ColumnSchema("error_message", "text", ucd="meta.code.error"),
    ColumnSchema("description", "text", ucd="meta.note"),
    ColumnSchema("semantics", "text", ucd="meta.code"),
    ColumnSchema("content_type", "text", ucd="meta.code.mime"),
    ColumnSchema("content_length", "long", unit="byte", ucd="phys.size;meta.file"),
)

_CUTOUTS = {
    "image": "Cutout: pixels with their WCS, an lsst.images.Image",
    "masked-image": "Cutout: pixels, mask and variance, an lsst.images.MaskedImage",
    "exposure": "Cutout: everything, with PSF and kernel, an lsst.images object as the whole is",
}

_JOB = "recreation-async"
_RECREATION = "The whole image, made by a job that can be waited for (UWS 1.1)"

type _Link = tuple[str | int | None, ...]


@router.get("/links", openapi_extra=documented(PARAMETERS), summary="Links of datasets")
@router.post(
    "/links",
    openapi_extra=documented_form(PARAMETERS),
    summary="Links of datasets, parameters in a form",
)
async def links(request: Request) -> Response:
    """List the file, preview, progenitors and cutout services of each dataset."""
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    parameters = await parameters_of(request)
    form = (parameters.one("RESPONSEFORMAT") or "votable").lower().replace(" ", "")
    if form not in _FORMATS:
        raise UsageError(f"RESPONSEFORMAT {form[:60]!r} is not offered; there is votable")
    identifiers = parameters.all("ID")
    if len(identifiers) > _MOST_IDS:
        raise UsageError(f"{len(identifiers)} IDs; at most {_MOST_IDS} are answered")
    base = public_url(request)
    found = await datasets_of(access, caller, "obs_publisher_did", identifiers)
    identities = {progenitor_id(row, p) for row in found.values() for p in row["progenitors"]}
    related = await to_thread.run_sync(access.catalog.related, sorted(identities))
    known = {row["dataset_id"]: row for row in related}
    rows: list[_Link] = []
    for identifier in identifiers:
        if identifier in found:
            rows += _links(found[identifier], known, access, base)
        else:
            error = no_dataset(identifier)
            fault = f"{error.fault}: {error.message}"
            rows.append((identifier, None, None, fault, None, "#this", None, None))
    only = identifiers[0] if len(identifiers) == 1 else ""
    services = "".join(_descriptor(name, mode, base, only) for name, mode in CUTOUT_MODES.items())
    if any(_is_on_demand(row, access) for row in found.values()):
        services += _recreation_descriptor(base, only)
    infos = [("standardID", "ivo://ivoa.net/std/DataLink#links-1.0")]
    document = votable(_COLUMNS, [rows], max_rows=len(rows), infos=infos, resources=services)
    return Response(b"".join(document), media_type=_MEDIA_TYPE)


def _links(
    row: Mapping[str, Any], related: Mapping[str, Mapping[str, Any]], access: Access, base: str
) -> Sequence[_Link]:
    did, image = row["obs_publisher_did"], f"{base}/images/{row['dataset_id']}"
    until = _until(row, access)

    def link(url: str, description: str, semantics: str, kind: str, size: int | None) -> _Link:
        return (did, url, None, None, description, semantics, kind, size)

    # Clients take row 0 for the image, and look for cutout-sync by name.
    title = f"{row['dataset_type']}, FITS{_on_demand(row, access)}{until}"
    result = [link(f"{image}.fits", title, "#this", "application/fits", row["size_bytes"])]
    result += [
        (did, None, name, None, f"{_CUTOUTS[mode]}{until}", "#cutout", "application/fits", None)
        for name, mode in CUTOUT_MODES.items()
    ]
    if _is_on_demand(row, access):
        title = f"{_RECREATION}{until}"
        size = row["size_bytes"]
        result.append((did, None, _JOB, None, title, "#proc", "application/fits", size))
    if row["preview_uri"] is not None:
        url = f"{base}/previews/{row['dataset_id']}"
        result.append(link(url, f"Preview{until}", "#preview", "image/png", None))
    if detections_uri(row) is not None:
        url = f"{base}/detections/{row['dataset_id']}.parquet"
        size = row["event"]["detections"]["size_bytes"]
        title = f"Detections, one row each, as residua.dia_source has them{until}"
        result.append(link(url, title, "#detections", "application/vnd.apache.parquet", size))
    for i, progenitor in enumerate(row["progenitors"]):
        description, size = f"{progenitor['dataset_type']} it was made of", None
        known = related.get(progenitor_id(row, progenitor))
        # The very file, not a later one of the same name.
        if known is not None and known["checksum"] == progenitor["checksum"]:
            description += f": {known['obs_publisher_did']}"
            size = known["size_bytes"]
        if known is not None:
            description += _until(known, access)
        url = f"{image}/progenitors/{i}.fits"
        result.append(link(url, description, "#progenitor", "application/fits", size))
    return result


def _is_on_demand(row: Mapping[str, Any], access: Access) -> bool:
    return access.recreations.offered and is_let_go(row)


def _on_demand(row: Mapping[str, Any], access: Access) -> str:
    if not is_let_go(row):
        return ""
    if not access.recreations.offered:
        return "; not stored, and not made again here"
    return "; not stored: it will be made when it is asked for, byte for byte as it was"


def _until(row: Mapping[str, Any], access: Access) -> str:
    release = release_time(row, access.settings)
    return "" if release is None else f"; public from {release:%Y-%m-%dT%H:%M:%SZ}"


def _recreation_descriptor(base: str, identifier: str) -> str:
    value = f"value={quoteattr(identifier)}" if identifier else 'ref="ID" value=""'
    return (
        f'<RESOURCE type="meta" utype="adhoc:service" ID="{_JOB}">\n'
        f"<DESCRIPTION>{escape(_RECREATION)}</DESCRIPTION>\n"
        '<PARAM name="accessURL" datatype="char" arraysize="*" '
        f"value={quoteattr(f'{base}/recreations')}/>\n"
        '<GROUP name="inputParams">\n'
        f'<PARAM name="ID" datatype="char" arraysize="*" ucd="meta.id;meta.main" {value}/>\n'
        '<PARAM name="PHASE" datatype="char" arraysize="*" value="RUN"/>\n'
        "</GROUP>\n</RESOURCE>\n"
    )


def _descriptor(name: str, mode: str, base: str, identifier: str) -> str:
    """Describe a cutout service so that clients can build its form."""
    # Of several datasets, each row names its own.
    value = f"value={quoteattr(identifier)}" if identifier else 'ref="ID" value=""'
    return (
        f'<RESOURCE type="meta" utype="adhoc:service" ID="{name}">\n'
        f"<DESCRIPTION>{escape(_CUTOUTS[mode])}</DESCRIPTION>\n"
        '<PARAM name="standardID" datatype="char" arraysize="*" '
        'value="ivo://ivoa.net/std/SODA#sync-1.0"/>\n'
        '<PARAM name="accessURL" datatype="char" arraysize="*" '
        f"value={quoteattr(f'{base}/cutout')}/>\n"
        '<GROUP name="inputParams">\n'
        f'<PARAM name="ID" datatype="char" arraysize="*" ucd="meta.id;meta.main" {value}/>\n'
        '<PARAM name="POLYGON" datatype="double" arraysize="*" xtype="polygon" unit="deg" '
        f'{_OUTLINE} value=""><DESCRIPTION>Polygon to cut out, ICRS</DESCRIPTION></PARAM>\n'
        '<PARAM name="CIRCLE" datatype="double" arraysize="3" xtype="circle" unit="deg" '
        f'{_OUTLINE} value=""><DESCRIPTION>Circle to cut out, ICRS</DESCRIPTION></PARAM>\n'
        f'<PARAM name="POS" datatype="char" arraysize="*" {_OUTLINE} value="">'
        "<DESCRIPTION>CIRCLE, RANGE or POLYGON to cut out, ICRS</DESCRIPTION></PARAM>\n"
        f'<PARAM name="CUTOUTMODE" datatype="char" arraysize="*" value="{mode}">'
        "<DESCRIPTION>What the file holds</DESCRIPTION></PARAM>\n"
        "</GROUP>\n</RESOURCE>\n"
    )
