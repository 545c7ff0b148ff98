"""STILTS and astropy have nothing to complain of."""

import io
import re
import shutil
import subprocess
from urllib.parse import quote

import httpx
import pytest
from astropy.io import votable

stilts = pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts is not installed")


def run_stilts(*arguments):
    done = subprocess.run(
        # A start takes more than the work: without the second compiler half as much.
        ["stilts", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout + done.stderr


@stilts
def test_taplint_has_nothing_to_complain_of(service):
    # All its stages, every one of them on both databases.
    report = run_stilts(
        "taplint", f"tapurl={service}/tap", "interface=tap1.1", "report=ISEWF", "maxrepeat=5"
    )
    found = re.findall(r"^[EWF]-\S+ .*$", report, re.MULTILINE)
    assert found == [], report
    done = set(re.findall(r"^Section (\w+):", report, re.MULTILINE))
    assert done >= {"TME", "TMC", "CAP", "QGE", "QPO", "QAS", "UWS", "MDQ", "UPL", "OBS", "LOC"}, (
        report
    )


@stilts
def test_datalinklint_finds_no_error(service, rows):
    did = quote(rows[0]["obs_publisher_did"], safe="")
    for identifier in (did, "ivo%3A%2F%2Fnobody%2Fnothing"):
        url = f"{service}/datalink/links?ID={identifier}"
        report = run_stilts("datalinklint", f"votable={url}")
        assert "Errors: 0; Warnings: 0" in report, report


ANSWERS = [
    "/sia/query?MAXREC=5",
    "/sia/query?MAXREC=0",
    "/sia/query?POS=CIRCLE+0+0+30&RESPONSEFORMAT=votable/b2",
    "/sia/query?POS=nonsense",
    "/tap/sync?LANG=ADQL&QUERY=SELECT+TOP+9+*+FROM+ivoa.ObsCore",
    "/tap/sync?LANG=ADQL&QUERY=SELECT+*+FROM+tap_schema.columns&RESPONSEFORMAT=votable/b2",
    "/tap/sync?LANG=ADQL&QUERY=SELECT+POINT(s_ra,s_dec),BOX(1,1,1,1)+FROM+ivoa.ObsCore",
    "/tap/sync?LANG=ADQL&QUERY=nonsense",
    "/datalink/links?ID=nothing",
    "/datalink/links",
]


@pytest.fixture(scope="module")
def documents(service):
    """What jobs leave, beside the answers: a result, and an error."""
    found = []
    for query, end in (
        ("SELECT TOP 3 * FROM ivoa.ObsCore", "results/result"),
        ("SELECT nothing FROM ivoa.ObsCore", "error"),
    ):
        data = {"LANG": "ADQL", "QUERY": query, "PHASE": "RUN"}
        job = httpx.post(f"{service}/tap/async", data=data).headers["location"]
        for phase in ("QUEUED", "EXECUTING"):
            httpx.get(job, params={"WAIT": "30", "PHASE": phase}, timeout=60)
        found.append(httpx.get(f"{job}/{end}"))
    return found


def test_astropy_validates_what_jobs_leave(documents):
    for answer in documents:
        assert answer.status_code == 200
        report = io.StringIO()
        assert votable.validate(io.BytesIO(answer.content), output=report), report.getvalue()


@stilts
def test_votlint_is_silent_about_what_jobs_leave(documents, tmp_path):
    for i, answer in enumerate(documents):
        file = tmp_path / f"{i}.xml"
        file.write_bytes(answer.content)
        assert not run_stilts("votlint", f"votable={file}").strip()


@pytest.mark.parametrize("path", ANSWERS)
def test_astropy_validates_every_table(service, path):
    answer = httpx.get(f"{service}{path}")
    report = io.StringIO()
    assert votable.validate(io.BytesIO(answer.content), output=report), report.getvalue()


@stilts
def test_votlint_is_silent(service, tmp_path):
    for i, path in enumerate(ANSWERS):
        file = tmp_path / f"{i}.xml"
        file.write_bytes(httpx.get(f"{service}{path}").content)
        report = run_stilts("votlint", f"votable={file}")
        assert not report.strip(), f"{path}: {report}"
