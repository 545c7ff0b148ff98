"""TAP: the queries of Rubin's DP1 tutorials through pyvo, formats and functions."""

import io
import math

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import votable
from pyarrow import parquet


@pytest.fixture
def tap(service):
    return pyvo.dal.TAPService(f"{service}/tap")


def test_tap_queries_of_the_tutorial(tap, rows):
    images = [r for r in rows if r["dataproduct_subtype"] == "lsst.difference_image"]
    target = images[7]
    query = f"""
        SELECT lsst_visit, lsst_detector, lsst_band, s_ra, s_dec, t_min, t_max, s_region
        FROM ivoa.ObsCore
        WHERE calib_level = 3
        AND dataproduct_type = 'image'
        AND instrument_name = 'LSSTComCam'
        AND dataproduct_subtype = 'lsst.difference_image'
        AND CONTAINS(POINT('ICRS', {target["s_ra"]}, {target["s_dec"]}), s_region) = 1
        ORDER BY t_min ASC"""
    table = tap.search(query).to_table()
    assert (target["lsst_visit"], target["lsst_detector"]) in set(
        zip(table["lsst_visit"], table["lsst_detector"], strict=True)
    )
    assert list(table["t_min"]) == sorted(table["t_min"])
    assert table["s_ra"].unit == "deg"
    counts = tap.search(
        "SELECT lsst_band, COUNT(*) AS images, MIN(t_min) AS first FROM ivoa.ObsCore "
        "WHERE lsst_visit IS NOT NULL GROUP BY lsst_band ORDER BY lsst_band"
    ).to_table()
    assert list(counts["lsst_band"]) == ["g", "i", "r"]
    assert sum(counts["images"]) == len(images)
    assert counts["first"].unit == "d"


def test_every_format_holds_the_same_values(service):
    query = (
        "SELECT obs_publisher_did, s_ra, lsst_visit, calib_level, POINT(s_ra, s_dec) AS p "
        "FROM ivoa.ObsCore WHERE lsst_visit IS NOT NULL ORDER BY obs_publisher_did"
    )

    def get(form):
        data = {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": form, "MAXREC": "50"}
        answer = httpx.post(f"{service}/tap/sync", data=data)
        assert answer.status_code == 200, answer.text
        return answer.content

    plain = votable.parse_single_table(io.BytesIO(get("votable"))).array
    binary = votable.parse_single_table(io.BytesIO(get("votable/b2"))).array
    assert len(plain) == 50
    for name in plain.dtype.names:
        assert plain[name].tolist() == binary[name].tolist(), name
    lines = get("csv").decode().splitlines()
    assert lines[0] == "obs_publisher_did,s_ra,lsst_visit,calib_level,p"
    names = [line.split(",")[0] for line in lines[1:]]
    assert names == [str(v) for v in plain["obs_publisher_did"]]
    assert get("tsv").decode().splitlines()[1].split("\t")[2] == str(plain["lsst_visit"][0])
    table = parquet.read_table(io.BytesIO(get("parquet")))
    assert table["s_ra"].to_pylist() == pytest.approx(plain["s_ra"].tolist(), abs=0.0)
    assert table["p"].to_pylist()[0] == pytest.approx(plain["p"][0].tolist())
    assert table.schema.field("s_ra").metadata[b"unit"] == b"deg"


def test_functions_have_their_adql_meaning(tap):
    query = """
        SELECT TOP 1 LOG(EXP(1.0)) AS a, LOG10(1000.0) AS b, MOD(7, 3) AS c,

          TRUNCATE(-1.57, 1) AS d, ROUND(2.345678, 3) AS e, POWER(2.0, 10.0) AS f,
          CEILING(1.2) AS g, FLOOR(-1.2) AS h,
          ATAN2(1.0, 1.0) AS i, COT(1.0) AS j, PI() AS k, ABS(-3.5) AS l, SQRT(2.0) AS m,
          AREA(CIRCLE('ICRS', 10.0, 10.0, 1.0)) AS n, COORD1(POINT(12.5, 3.0)) AS o,
          DISTANCE(POINT(0.0, 0.0), POINT(0.0, 1.5)) AS p, LOWER('AbC') AS q, UPPER('AbC') AS r,
          COORD2(CENTROID(CIRCLE('', 5.0, 6.0, 1.0))) AS s, 1.0 / 0 AS t, COALESCE(NULL, 4) AS u,
          AREA(POLYGON('ICRS', 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)) AS v
        FROM ivoa.ObsCore"""
    row = tap.search(query).to_table()[0]
    expected = {
        "a": 1.0, "b": 3.0, "c": 1.0, "d": -1.5, "e": 2.346, "f": 1024.0, "g": 2.0, "h": -2.0,
        "i": math.pi / 4, "j": 1.0 / math.tan(1.0), "k": math.pi, "l": 3.5, "m": math.sqrt(2.0),
        "n": 2 * math.pi * (1 - math.cos(math.radians(1.0))) * math.degrees(1.0) ** 2,
        "o": 12.5, "p": 1.5, "s": 6.0, "u": 4, "v": 1.0,
    }  # fmt: skip
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, rel=1e-3 if name == "v" else 1e-9), name
    assert (row["q"], row["r"]) == ("abc", "ABC")
    assert np.ma.is_masked(row["t"])


def test_like_looks_at_case_and_ilike_does_not(tap):
    count = "SELECT COUNT(*) AS n FROM ivoa.ObsCore WHERE obs_id"
    assert tap.search(f"{count} LIKE 'LSST%'").to_table()["n"][0] > 0
    assert (
        tap.search(f"{count} LIKE 'lsst%'").to_table()["n"][0]
        < (tap.search(f"{count} ILIKE 'lsst%'").to_table()["n"][0])
    )


def test_tap_schema_describes_every_table_and_column(tap):
    names = {name.lower() for name in tap.search("SELECT * FROM tap_schema.tables")["table_name"]}
    assert {"ivoa.obscore", "tap_schema.columns"} <= names
    query = 'SELECT column_name, unit, ucd, utype, "size" FROM tap_schema.columns'
    columns = tap.search(f"{query} WHERE table_name = 'ivoa.ObsCore'").to_table()
    assert len(columns) == 40
    s_ra = columns[columns["column_name"] == "s_ra"][0]
    assert (s_ra["unit"], s_ra["ucd"]) == ("deg", "pos.eq.ra")
    joined = tap.search(
        "SELECT t.table_name, COUNT(*) AS n "
        "FROM tap_schema.tables AS t JOIN tap_schema.columns AS c ON t.table_name = c.table_name "
        "GROUP BY t.table_name"
    )
    assert len(joined) == len(names)


@pytest.mark.parametrize("form", ["votable", "votable/b2", "csv", "tsv", "parquet"])
def test_results_of_many_batches_are_streamed_whole(service, form):
    query = "SELECT a.obs_publisher_did, b.s_ra, b.lsst_visit FROM ivoa.ObsCore a, ivoa.ObsCore b"
    data = {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": form, "MAXREC": "5000"}
    content = b""
    with httpx.stream("POST", f"{service}/tap/sync", data=data, timeout=60) as answer:
        assert answer.status_code == 200
        assert "content-length" not in answer.headers
        for chunk in answer.iter_bytes():
            content += chunk
    if form == "parquet":
        assert parquet.read_table(io.BytesIO(content)).num_rows == 5000
    elif form in {"csv", "tsv"}:
        assert len(content.splitlines()) == 5001
    else:
        table = votable.parse_single_table(io.BytesIO(content)).array
        assert len(table) == 5000
        assert all(str(v).startswith("ivo://") for v in table["obs_publisher_did"])
        assert b'name="QUERY_STATUS" value="OVERFLOW"' in content
