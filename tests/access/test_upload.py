"""Tables that clients bring: which of my targets have images."""

import io

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table

QUERY = """
    SELECT t.name, COUNT(*) AS images FROM TAP_UPLOAD.targets AS t
    JOIN ivoa.ObsCore AS o ON {} GROUP BY t.name ORDER BY t.name"""
CONDITIONS = [
    "1 = CONTAINS(POINT('ICRS', t.ra, t.dec), o.s_region)",
    "1 = CONTAINS(POINT('ICRS', o.s_ra, o.s_dec), CIRCLE('ICRS', t.ra, t.dec, 0.5))",
    "DISTANCE(POINT(t.ra, t.dec), POINT(o.s_ra, o.s_dec)) < 0.5",
]


@pytest.fixture(scope="module")
def targets(rows):
    """500 positions: every second one is the middle of an image."""
    rng = np.random.default_rng(4)
    centers = [(row["s_ra"], row["s_dec"]) for row in rows[:250]]
    others = zip(rng.uniform(0, 360, 250), rng.uniform(-90, 90, 250), strict=True)
    positions = [p for pair in zip(centers, others, strict=True) for p in pair]
    return Table(
        {
            "name": [f"Ünïcode {i}" for i in range(500)],
            "RA": [p[0] for p in positions],
            "dec": [p[1] for p in positions],
            "n": MaskedColumn(np.arange(500), mask=np.arange(500) % 5 == 0),
        }
    )


def votable(table, form="tabledata"):
    out = io.BytesIO()
    document = from_table(table)
    document.get_first_table().format = form
    document.to_xml(out)
    return out.getvalue()


@pytest.mark.parametrize("condition", CONDITIONS)
def test_500_targets_are_matched_by_an_index(service, rows, targets, condition):
    found = pyvo.dal.TAPService(f"{service}/tap").run_sync(
        QUERY.format(condition), uploads={"targets": targets}
    )
    counts = {str(row["name"]): int(row["images"]) for row in found}
    assert all(counts[f"Ünïcode {2 * i}"] >= 1 for i in range(250))
    assert len(counts) < 500


def test_values_come_back_as_they_were(service, targets):
    tap = pyvo.dal.TAPService(f"{service}/tap")
    for form in ("tabledata", "binary2"):
        files = {"file": ("t.vot", votable(targets, form), "application/x-votable+xml")}
        query = "SELECT * FROM tap_upload.T ORDER BY ra"
        data = {"LANG": "ADQL", "QUERY": query, "UPLOAD": "T,param:file"}
        answer = httpx.post(f"{service}/tap/sync", data=data, files=files, timeout=60)
        assert answer.status_code == 200, answer.text
        table = Table.read(io.BytesIO(answer.content), format="votable")
        wanted = targets.copy()
        wanted.sort("RA")
        assert list(table["ra"]) == list(wanted["RA"])
        assert list(map(str, table["name"])) == list(wanted["name"])
        assert list(table["n"].mask) == list(wanted["n"].mask)
    job = tap.run_async("SELECT COUNT(*) AS n FROM TAP_UPLOAD.t", uploads={"t": targets})
    assert job.to_table()["n"][0] == 500


ELSEWHERE = b"""<VOTABLE><RESOURCE><TABLE><FIELD name="a" datatype="int"/>
<DATA><BINARY><STREAM href="file:///etc/passwd"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>"""


def post(service, query, upload, content=b"", **data):
    files = {"file": ("t.vot", content)} if content else {}
    fields = {"LANG": "ADQL", "QUERY": query, "UPLOAD": upload, **data}
    return httpx.post(f"{service}/tap/sync", data=fields, files=files or {"x": b"y"}, timeout=60)


@pytest.mark.parametrize(
    ("upload", "content", "words"),
    [
        ("t,ftp://example.org/x.vot", b"<VOTABLE/>", "is not offered"),
        ("t,file:///etc/passwd", b"<VOTABLE/>", "is not offered"),
        ("t,http://127.0.0.1:1/x.vot", b"<VOTABLE/>", "tables are not fetched from"),
        ("t,param:other", b"<VOTABLE/>", "there is no file"),
        ("t,param:file", b"this is no table", "is no VOTable"),
        ("t,param:file", ELSEWHERE, "send them inline"),
        ("t,param:file", b'<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE>&a;</VOTABLE>', "document type"),
        ('"x; DROP",param:file', b"<VOTABLE/>", "is no name"),
        ("residua_x,param:file", b"<VOTABLE/>", "is no name"),
    ],
)
def test_wrong_uploads_are_refused_in_words(service, upload, content, words):
    answer = post(service, "SELECT * FROM TAP_UPLOAD.t", upload, content)
    assert answer.status_code == 400
    assert words in answer.text


def test_an_array_is_refused_and_strange_names_do_no_harm(service):
    arrays = Table({"a": np.zeros((2, 3))})
    answer = post(service, "SELECT * FROM TAP_UPLOAD.t", "t,param:file", votable(arrays))
    assert "numbers and texts are read" in answer.text
    strange = Table({'a"; DROP TABLE obscore; --%s': [1, 2], "select": [3, 4]})
    query = 'SELECT "select" FROM TAP_UPLOAD.t ORDER BY "select"'
    answer = post(service, query, "t,param:file", votable(strange), RESPONSEFORMAT="csv")
    assert answer.status_code == 200, answer.text
    assert answer.text.split() == ["select", "3", "4"]
    count = post(service, "SELECT COUNT(*) AS n FROM ivoa.ObsCore", "t,param:file",
                 votable(strange), RESPONSEFORMAT="csv")  # fmt: skip
    assert int(count.text.split()[1]) > 100


def test_an_upload_is_gone_after_its_query(service, targets):
    pyvo.dal.TAPService(f"{service}/tap").run_sync(
        "SELECT TOP 1 name FROM TAP_UPLOAD.mine", uploads={"mine": targets}
    )
    answer = httpx.get(
        f"{service}/tap/sync",
        params={"LANG": "ADQL", "QUERY": "SELECT name FROM TAP_UPLOAD.mine"},
    )
    assert answer.status_code == 400
    assert "no table" in answer.text


def test_a_body_in_chunks_is_read(service, targets):
    # As STILTS sends its uploads: nobody knows the length before the end.
    request = httpx.Request(
        "POST",
        f"{service}/tap/sync",
        data={"LANG": "ADQL", "QUERY": "SELECT COUNT(*) AS n FROM TAP_UPLOAD.t",
              "UPLOAD": "t,param:file", "RESPONSEFORMAT": "csv"},
        files={"file": ("t.vot", votable(targets))},
    )  # fmt: skip
    whole = request.read()
    pieces = (whole[i : i + 5_000] for i in range(0, len(whole), 5_000))
    headers = {"Content-Type": request.headers["content-type"]}
    answer = httpx.post(f"{service}/tap/sync", content=pieces, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.text.split() == ["n", "500"]
    too_much = httpx.post(
        f"{service}/tap/sync", content=(b"x" * 100_000 for _ in range(11)), headers=headers
    )
    assert too_much.status_code == 400
    assert "more than 1000000 bytes" in too_much.text
