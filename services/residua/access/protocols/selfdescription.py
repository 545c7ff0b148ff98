"""What the services say of themselves: VOSI documents and service descriptors."""

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from residua.access.adql import ColumnSchema, TableSchema
from residua.access.adql.functions import FUNCTIONS
from residua.access.dali.formats import FORMATS
from residua.access.dali.votable import votable
from residua.access.settings import AccessSettings
from residua.access.store.public_tables import (
    KEYS,
    OBSCORE,
    SCHEMAS,
    TABLES,
)

__all__ = [
    "EXAMPLES",
    "availability",
    "capabilities",
    "examples",
    "sia_description",
    "tables_document",
    "tap_capabilities",
]

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_VOSI = "http://www.ivoa.net/xml"
_BEARER = "ivo://ivoa.net/sso#OAuth"
_GEOMETRY = (
    "AREA", "BOX", "CENTROID", "CIRCLE", "CONTAINS", "COORD1", "COORD2", "COORDSYS", "DISTANCE",
    "INTERSECTS", "POINT", "POLYGON",
)  # fmt: skip


def availability(*, available: bool, note: str = "") -> str:
    """VOSI availability."""
    text = f"<vosi:note>{escape(note)}</vosi:note>" if note else ""
    return (
        f'{_XML}<vosi:availability xmlns:vosi="{_VOSI}/VOSIAvailability/v1.0">'
        f"<vosi:available>{str(available).lower()}</vosi:available>{text}</vosi:availability>\n"
    )


def capabilities(base: str, services: Sequence[tuple[str, str]], settings: AccessSettings) -> str:
    """VOSI capabilities of plain services.

    Parameters
    ----------
    base
        URL the VOSI resources are under.
    services
        Standard identifier and URL of each.
    """
    vosi = [
        (f"ivo://ivoa.net/std/VOSI#{name}", f"{base}/{name}")
        for name in ("capabilities", "availability")
    ]
    secured = _security(settings)
    parts = [
        *(_capability(*service, secured=secured) for service in services),
        *(_capability(*service) for service in vosi),
    ]
    return (
        f'{_XML}<vosi:capabilities xmlns:vosi="{_VOSI}/VOSICapabilities/v1.0" '
        f'xmlns:vs="{_VOSI}/VODataService/v1.1" xmlns:vr="{_VOSI}/VOResource/v1.0" '
        f'xmlns:tr="{_VOSI}/TAPRegExt/v1.0" {_XSI}>{"".join(parts)}</vosi:capabilities>\n'
    )


def tap_capabilities(base: str, settings: AccessSettings) -> str:
    """VOSI capabilities of the TAP service, with what its language can do."""
    udf = "ivo://ivoa.net/std/TAPRegExt#features-adqlgeo"
    features = "".join(f"<feature><form>{name}</form></feature>" for name in _GEOMETRY)
    formats = "".join(
        f"<outputFormat><mime>{escape(f.media_type)}</mime>"
        + "".join(f"<alias>{escape(n)}</alias>" for n in f.names[:1])
        + "</outputFormat>"
        for f in FORMATS
    )
    # At addresses: results of jobs here, and what lies at the hosts of the settings.
    methods = ("inline", "http", "https")
    uploads = "".join(
        f'<uploadMethod ivo-id="ivo://ivoa.net/std/TAPRegExt#upload-{m}"/>' for m in methods
    )
    seconds = round(settings.async_seconds)
    days = round(settings.job_days * 86_400)
    body = (
        f'<dataModel ivo-id="{OBSCORE.utype}">ObsCore-1.1</dataModel>'
        "<language><name>ADQL</name>"
        '<version ivo-id="ivo://ivoa.net/std/ADQL#v2.0">2.0</version>'
        "<description>ADQL 2.0, with LOWER, UPPER, ILIKE, OFFSET, CAST, CASE, COALESCE and WITH"
        "</description>"
        f'<languageFeatures type="{udf}">{features}</languageFeatures>'
        f"{_functions()}"
        f"</language>{formats}"
        f"{uploads}"
        f"<retentionPeriod><default>{days}</default><hard>{days}</hard></retentionPeriod>"
        f"<executionDuration><default>{seconds}</default><hard>{seconds}</hard>"
        "</executionDuration>"
        f'<outputLimit><default unit="row">{settings.default_rows}</default>'
        f'<hard unit="row">{settings.max_rows}</hard></outputLimit>'
        f'<uploadLimit><hard unit="byte">{settings.max_request_bytes}</hard></uploadLimit>'
    )
    vosi = [
        (f"ivo://ivoa.net/std/VOSI#{standard}", f"{base}/{name}")
        for standard, name in (
            ("capabilities", "capabilities"), ("availability", "availability"),
            ("tables-1.1", "tables"),
        )
    ]  # fmt: skip
    table_access = (
        '<capability standardID="ivo://ivoa.net/std/TAP" xsi:type="tr:TableAccess">'
        '<interface role="std" xsi:type="vs:ParamHTTP" version="1.1">'
        f'<accessURL use="base">{escape(base)}</accessURL>{_security(settings)}</interface>'
        f"{body}</capability>"
    )
    parts = [
        table_access,
        *(
            # Whoever has no token must be able to learn that one is needed.
            _capability(*service, secured=_security(settings) if "#tables" in service[0] else "")
            for service in vosi
        ),
        _capability(
            "ivo://ivoa.net/std/DALI#examples",
            f"{base}/examples",
            "vr:WebBrowser",
            secured=_security(settings),
        ),
    ]
    return (
        f'{_XML}<vosi:capabilities xmlns:vosi="{_VOSI}/VOSICapabilities/v1.0" '
        f'xmlns:vs="{_VOSI}/VODataService/v1.1" xmlns:vr="{_VOSI}/VOResource/v1.0" '
        f'xmlns:tr="{_VOSI}/TAPRegExt/v1.0" {_XSI}>{"".join(parts)}</vosi:capabilities>\n'
    )


def _functions() -> str:
    """Functions beyond ADQL's own, as TAPRegExt lists them."""
    features = "".join(
        f"<feature><form>{escape(function.form)}</form>"
        f"<description>{escape(function.description)}</description></feature>"
        for function in FUNCTIONS.values()
        if function.form
    )
    kind = "ivo://ivoa.net/std/TAPRegExt#features-udf"
    return f'<languageFeatures type="{kind}">{features}</languageFeatures>'


def _security(settings: AccessSettings) -> str:
    """How a request says who sent it, for `interface`: not at all, or by a bearer token."""
    return f'<securityMethod standardID="{_BEARER}"/>' if settings.tokens_required else ""


def _capability(
    standard: str, url: str, interface: str = "vs:ParamHTTP", *, secured: str = ""
) -> str:
    role = ' role="std"' if interface == "vs:ParamHTTP" else ""
    return (
        f"<capability standardID={quoteattr(standard)}>"
        f'<interface{role} xsi:type="{interface}">'
        f'<accessURL use="{"base" if role else "full"}">{escape(url)}</accessURL>{secured}'
        "</interface></capability>"
    )


def tables_document() -> str:
    """VOSI tables: every schema, table, column and foreign key."""
    parts = []
    for name, description in SCHEMAS.items():
        tables = "".join(_table(table) for table in TABLES if table.schema == name)
        parts.append(
            f"<schema><name>{name}</name><description>{escape(description)}</description>"
            f"{tables}</schema>"
        )
    return (
        f'{_XML}<vosi:tableset xmlns:vosi="{_VOSI}/VOSITables/v1.0" '
        f'xmlns:vs="{_VOSI}/VODataService/v1.1" {_XSI}>{"".join(parts)}</vosi:tableset>\n'
    )


def _table(table: TableSchema) -> str:
    utype = f"<utype>{escape(table.utype)}</utype>" if table.utype else ""
    columns = "".join(_column(column) for column in table.columns)
    keys = "".join(
        f"<foreignKey><targetTable>{target}</targetTable><fkColumn>"
        f"<fromColumn>{a}</fromColumn><targetColumn>{b}</targetColumn></fkColumn></foreignKey>"
        for _, source, target, a, b in KEYS
        if source == table.full_name
    )
    return (
        f'<table type="table"><name>{table.full_name}</name>'
        f"<description>{escape(table.description)}</description>{utype}{columns}{keys}</table>"
    )


def _column(column: ColumnSchema) -> str:
    values = (("unit", column.unit), ("ucd", column.ucd), ("utype", column.utype))
    meanings = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values if value)
    is_text = column.kind == "text"
    size = f' arraysize="{column.arraysize}"' if is_text else ""
    kind = ("unicodeChar" if column.unicode else "char") if is_text else column.kind
    flags = "<flag>indexed</flag>" if column.indexed else ""
    flags += "<flag>principal</flag>" if column.principal else ""
    standard = ' std="true"' if column.std else ""
    return (
        f"<column{standard}><name>{column.delimited_name}</name>"
        f"<description>{escape(column.description)}</description>{meanings}"
        f'<dataType xsi:type="vs:VOTableType"{size}>{kind}</dataType>{flags}</column>'
    )


def sia_description(base: str, parameters: Iterable[tuple[str, str]]) -> bytes:
    """VOTable without rows: the columns of an answer, and the parameters of the service."""
    inputs = "".join(
        f'<PARAM name="{name}" datatype="char" arraysize="*" value="">'
        f"<DESCRIPTION>{escape(text)}</DESCRIPTION></PARAM>\n"
        for name, text in parameters
    )
    service = (
        '<RESOURCE type="meta" utype="adhoc:service" ID="sia">\n'
        '<PARAM name="standardID" datatype="char" arraysize="*" '
        'value="ivo://ivoa.net/std/SIA#query-2.0"/>\n'
        f'<PARAM name="accessURL" datatype="char" arraysize="*" '
        f"value={quoteattr(f'{base}/sia/query')}/>\n"
        f'<GROUP name="inputParams">\n{inputs}</GROUP>\n</RESOURCE>\n'
    )
    some_row = [((None,) * len(OBSCORE.columns),)]
    return b"".join(votable(OBSCORE.columns, some_row, max_rows=0, resources=service))


_POINT = """\
SELECT TOP 100 obs_publisher_did, t_min, lsst_band, lsst_visit, lsst_detector, access_url
FROM ivoa.ObsCore
WHERE dataproduct_subtype = 'lsst.difference_image'
  AND CONTAINS(POINT('ICRS', 53.16, -28.1), s_region) = 1
ORDER BY t_min"""
_CONE = """\
SELECT * FROM ivoa.ObsCore
WHERE CONTAINS(POINT('ICRS', s_ra, s_dec), CIRCLE('ICRS', 53.16, -28.1, 0.5)) = 1
  AND lsst_band = 'r' AND t_min BETWEEN 60600 AND 60700"""
_COUNT = """\
SELECT lsst_band, COUNT(*) AS images
FROM ivoa.ObsCore
GROUP BY lsst_band"""

EXAMPLES: tuple[tuple[str, str, str], ...] = (
    ("point", "Difference images that hold a position", _POINT),
    ("cone", "Images near a position, in one band and a span of time", _CONE),
    ("count", "Images of each band", _COUNT),
)
"""Name, title and text of example queries."""


def examples() -> str:
    """DALI examples: XHTML with RDFa."""
    parts = "".join(
        f'<div typeof="example" id="{name}" resource="#{name}">'
        f'<h2 property="name">{escape(title)}</h2>'
        f'<pre property="query">{escape(query)}</pre></div>'
        for name, title, query in EXAMPLES
    )
    return (
        '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml"><head>'
        "<title>Examples of queries</title></head>"
        f'<body vocab="http://www.ivoa.net/rdf/examples#"><h1>Examples of queries</h1>{parts}'
        "</body></html>\n"
    )
