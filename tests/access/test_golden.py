"""VO documents as they were published: compared with files, and read by independent readers.

After a deliberate change: ``pytest tests/access/test_golden.py --update-golden``, and read the
difference before it is committed.
"""

import io
import re
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from astropy.io import votable
from pyvo.dal import DALQueryError, DALResults
from vo_models.uws import Jobs, JobSummary, Parameter, Parameters
from vo_models.vosi.capabilities import VOSICapabilities
from vo_models.vosi.tables import VOSITableSet

from residua.access.settings import AccessSettings


class JobParameters(Parameters):
    """Those of our jobs."""

    LANG: Parameter
    QUERY: Parameter


GOLDEN = Path(__file__).parent / "golden"
QUERY = "SELECT TOP 1 obs_id, s_ra FROM ivoa.ObsCore WHERE obs_collection = 'nothing'"
ANSWERS = {
    "tap_capabilities": "/tap/capabilities",
    "sia_capabilities": "/sia/capabilities",
    "datalink_capabilities": "/datalink/capabilities",
    "tables": "/tap/tables",
    "datalink_links": "/datalink/links?ID={did}",
    "datalink_nothing": "/datalink/links?ID=ivo%3A%2F%2Fnobody%2Fnothing",
    "sia_self_description": "/sia/query?MAXREC=0",
    "sia_error": "/sia/query?POS=nonsense",
    "tap_error": "/tap/sync?LANG=ADQL&QUERY=SELECT+nothing+FROM+ivoa.ObsCore",
    "tap_no_query": "/tap/sync?LANG=ADQL",
}
JOBS = {"job_completed": QUERY, "job_failed": "SELECT nothing FROM ivoa.ObsCore"}


@pytest.fixture(scope="module")
def address(run_service, make_catalog, rows, tmp_path_factory):
    place = tmp_path_factory.mktemp("golden")
    catalog = f"sqlite:///{place}/catalog.sqlite"
    make_catalog(catalog, rows)
    settings = AccessSettings(catalog_url=catalog, results_directory=place / "results")
    with run_service(settings) as url:
        yield url


@pytest.fixture(scope="module")
def documents(address, rows):
    did = quote(rows[0]["obs_publisher_did"], safe="")
    # One client: jobs are listed to the browser that made them.
    with httpx.Client() as client:
        found = {n: client.get(address + p.format(did=did)).content for n, p in ANSWERS.items()}
        for name, query in JOBS.items():
            data = {"LANG": "ADQL", "QUERY": query, "RUNID": name}
            job = client.post(f"{address}/tap/async", data=data).headers["location"]
            found[f"{name}_pending"] = client.get(job).content
            client.post(f"{job}/phase", data={"PHASE": "RUN"})
            for phase in ("QUEUED", "EXECUTING"):
                client.get(job, params={"WAIT": "30", "PHASE": phase}, timeout=60)
            found[name] = client.get(job).content
            found[f"{name}_results"] = client.get(f"{job}/results").content
            found[f"{name}_parameters"] = client.get(f"{job}/parameters").content
        found["job_error"] = client.get(f"{job}/error").content
        found["jobs"] = client.get(f"{address}/tap/async").content
    return found


def normalised(document, address):
    """Replace what differs from run to run, and give each element a line of its own."""
    text = document.decode().replace(address, "http://service.example")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"ownerId>browser [0-9a-f]+<", "ownerId>browser NUMBER<", text)
    return re.sub(r">\s*<", ">\n<", text)


NAMES = [
    *ANSWERS,
    *(f"{n}{part}" for n in JOBS for part in ("", "_pending", "_results", "_parameters")),
    "job_error",
    "jobs",
]


@pytest.mark.parametrize("name", NAMES)
def test_documents_are_as_published(documents, address, name, request):
    path = GOLDEN / f"{name}.xml"
    found = normalised(documents[name], address)
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text(), f"{name} changed: see this file's docstring"


def test_capabilities_as_vo_models_reads_them(documents, address):
    tap = VOSICapabilities.from_xml(documents["tap_capabilities"])
    standards = {str(c.standard_id) for c in tap.capability}
    assert {"ivo://ivoa.net/std/TAP", "ivo://ivoa.net/std/VOSI#tables-1.1"} <= standards
    for name, standard in (("sia", "SIA"), ("datalink", "DataLink")):
        found = VOSICapabilities.from_xml(documents[f"{name}_capabilities"]).capability
        [own] = [
            c for c in found if str(c.standard_id).startswith(f"ivo://ivoa.net/std/{standard}#")
        ]
        assert str(own.interface[0].access_url[0].value).startswith(address)


def test_tables_as_vo_models_reads_them(documents):
    found = VOSITableSet.from_xml(documents["tables"])
    names = {t.table_name: t for s in found.tableset_schema for t in s.table}
    assert {"ivoa.ObsCore", "tap_schema.columns"} <= set(names)
    columns = {c.column_name for c in names["ivoa.ObsCore"].column}
    assert {"obs_publisher_did", "s_region", "t_min", "access_url"} <= columns


def test_jobs_as_vo_models_reads_them(documents):
    done, failed = (
        JobSummary[JobParameters].from_xml(documents[name])
        for name in ("job_completed", "job_failed")
    )
    assert (done.phase, failed.phase) == ("COMPLETED", "ERROR")
    assert done.run_id == "job_completed"
    assert done.parameters.QUERY.value == QUERY
    assert [r.id for r in done.results.results] == ["result"]
    assert done.start_time <= done.end_time
    assert "nothing" in failed.error_summary.message
    listed = Jobs.from_xml(documents["jobs"])
    assert {j.job_id for j in listed.jobref} == {done.job_id, failed.job_id}


@pytest.mark.parametrize("name", ["datalink_links", "datalink_nothing", "sia_self_description"])
def test_tables_of_rows_as_astropy_reads_them(documents, name):
    votable.parse(io.BytesIO(documents[name]), verify="exception")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sia_error", "NONSENSE"),
        ("tap_error", "'nothing'"),
        ("tap_no_query", "QUERY"),
        ("job_error", "'nothing'"),
    ],
)
def test_errors_as_pyvo_reads_them(documents, name, message):
    with pytest.raises(DALQueryError, match=message):
        DALResults(votable.parse(io.BytesIO(documents[name])))


def test_no_golden_document_is_left_over(documents):
    assert {p.stem for p in GOLDEN.glob("*.xml")} == set(NAMES) == set(documents)
