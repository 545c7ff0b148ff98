"""The queries of Rubin's DP1 tutorials, through pyvo, against both databases."""

import io
import math
import time

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import votable
from astropy.time import Time
from pyarrow import parquet
from sqlalchemy import create_engine

LARGE = "CIRCLE('ICRS', 0.0, 0.0, 20.0)"


@pytest.fixture
def tap(service):
    return pyvo.dal.TAPService(f"{service}/tap")


@pytest.fixture
def sia(service):
    return pyvo.dal.SIA2Service(f"{service}/sia")


def ids(table):
    return {str(value) for value in table["obs_publisher_did"]}


def test_sia_finds_difference_images_by_level_and_subtype(sia, rows):
    found = sia.search(calib_level=3, DPSUBTYPE="lsst.difference_image", maxrec=10_000)
    expected = {
        r["obs_publisher_did"] for r in rows if r["dataproduct_subtype"] == "lsst.difference_image"
    }
    assert ids(found.to_table()) == expected


def test_sia_parameters_narrow_each_other(sia, rows):
    target = rows[5]
    band = ((target["em_min"] + target["em_max"]) / 2, (target["em_min"] + target["em_max"]) / 2)
    found = sia.search(
        pos=(target["s_ra"], target["s_dec"], 0.001),
        band=band,
        time=(Time(target["t_min"], format="mjd"), Time(target["t_max"], format="mjd")),
        exptime=(29.0, 31.0),
        instrument=target["instrument_name"],
        facility=target["facility_name"],
        collection=target["obs_collection"],
        data_type="image",
        res_format=target["access_format"],
    )
    assert ids(found.to_table()) == {target["obs_publisher_did"]}
    assert len(sia.search(target_name="NOPE")) == 0
    assert len(sia.search(pol="I")) == 0
    assert len(sia.search(calib_level=4)) == 0


@pytest.mark.parametrize(
    ("parameter", "column", "low", "high"),
    [
        ("FOV", "s_fov", 0.9, 1.1),
        ("SPATRES", "s_resolution", 0.0, 0.9),
        ("SPECRP", "em_res_power", 4.0, 5.0),
        ("TIMERES", "t_resolution", 1.0, 100.0),
    ],
)
def test_sia_intervals_mean_their_column(service, rows, parameter, column, low, high):
    answer = httpx.get(
        f"{service}/sia/query", params={parameter: f"{low} {high}", "MAXREC": "10000"}
    )
    table = votable.parse_single_table(io.BytesIO(answer.content))
    expected = {
        r["obs_publisher_did"] for r in rows if r[column] is not None and low <= r[column] <= high
    }
    assert {str(v) for v in table.array["obs_publisher_did"]} == expected


def test_sia_repeats_are_alternatives_and_overflow_is_said(service, rows):
    pair = [rows[3]["obs_publisher_did"], rows[9]["obs_publisher_did"]]
    answer = httpx.post(f"{service}/sia/query", data={"ID": pair})
    table = votable.parse_single_table(io.BytesIO(answer.content))
    assert {str(v) for v in table.array["obs_publisher_did"]} == set(pair)
    limited = httpx.get(f"{service}/sia/query", params={"MAXREC": "3"})
    assert len(votable.parse_single_table(io.BytesIO(limited.content)).array) == 3
    assert 'name="QUERY_STATUS" value="OVERFLOW"' in limited.text
    described = httpx.get(f"{service}/sia/query", params={"MAXREC": "0"})
    assert len(votable.parse_single_table(io.BytesIO(described.content)).array) == 0
    assert 'name="inputParams"' in described.text


@pytest.mark.parametrize(
    "parameters",
    [
        {"POS": "CIRCLE 10 10"},
        {"POS": "SQUARE 1 2 3"},
        {"BAND": "x"},
        {"TIME": "nan"},
        {"CALIB": "7"},
        {"POL": "Z"},
        {"MAXREC": "-1"},
        {"RESPONSEFORMAT": "xls"},
    ],
)
def test_sia_answers_wrong_values_with_an_error_table(service, parameters):
    answer = httpx.get(f"{service}/sia/query", params=parameters)
    assert answer.status_code == 400
    assert 'name="QUERY_STATUS" value="ERROR"' in answer.text
    assert votable.validate(io.BytesIO(answer.content), output=io.StringIO())


def test_access_urls_lead_to_the_service_that_answered(service, sia):
    url = str(sia.search(maxrec=1)[0]["access_url"])
    assert url.startswith(f"{service}/datalink/links?ID=ivo%3A%2F%2F")


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


def test_jobs_give_the_rows_of_synchronous_queries(tap):
    query = f"SELECT * FROM ivoa.ObsCore WHERE 1 = INTERSECTS(s_region, {LARGE})"
    expected = ids(tap.search(query, maxrec=10_000).to_table())
    assert expected
    job = tap.submit_job(query, maxrec=10_000)
    assert job.phase == "PENDING"
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60.0)
    assert job.phase == "COMPLETED"
    assert ids(job.fetch_result().to_table()) == expected
    assert any(j.jobid == job.job_id for j in tap.get_job_list())
    url = job.url
    job.delete()
    assert httpx.get(url).status_code == 404


def test_failed_jobs_say_why_and_pending_ones_can_be_aborted(tap):
    job = tap.submit_job("SELECT nothing FROM ivoa.ObsCore")
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60.0)
    with pytest.raises(pyvo.dal.DALQueryError, match="nothing"):
        job.raise_if_error()
    other = tap.submit_job("SELECT * FROM ivoa.ObsCore")
    other.abort()
    assert other.phase == "ABORTED"


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


def test_waiting_for_a_job_and_its_limits(service):
    data = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 * FROM ivoa.ObsCore", "RUNID": "mine"}
    created = httpx.post(f"{service}/tap/async", data=data)
    assert created.status_code == 303
    job = created.headers["location"]
    changed = httpx.post(f"{job}/executionduration", data={"EXECUTIONDURATION": "30"})
    assert changed.status_code == 303
    assert httpx.get(f"{job}/executionduration").text == "30"
    httpx.post(f"{job}/destruction", data={"DESTRUCTION": "2026-01-01T00:00:00Z"})
    assert httpx.get(f"{job}/destruction").text == "2026-01-01T00:00:00.000Z"
    assert httpx.get(f"{job}/results/result").status_code == 404
    assert httpx.post(f"{job}/phase", data={"PHASE": "RUN"}).status_code == 303
    done = httpx.get(job, params={"WAIT": "30", "PHASE": "EXECUTING"}, timeout=60)
    done = httpx.get(job, params={"WAIT": "30"}, timeout=60)
    assert "<uws:phase>COMPLETED</uws:phase>" in done.text
    assert "<uws:runId>mine</uws:runId>" in done.text
    assert httpx.post(f"{job}/parameters", data={"QUERY": "SELECT 1"}).status_code == 400
    # Its destruction time has come: the next job sweeps it away.
    httpx.post(f"{service}/tap/async", data=data)
    assert httpx.get(job).status_code == 404


def test_a_running_job_can_be_aborted(service, catalog_url):
    query = (
        "SELECT COUNT(*) FROM ivoa.ObsCore a, ivoa.ObsCore b, ivoa.ObsCore c, ivoa.ObsCore d "
        "WHERE a.s_ra + b.s_ra + c.s_ra > d.s_ra"
    )
    data = {"LANG": "ADQL", "QUERY": query, "PHASE": "RUN"}
    job = httpx.post(f"{service}/tap/async", data=data).headers["location"]
    running = httpx.get(job, params={"WAIT": "10", "PHASE": "QUEUED"}, timeout=60)
    assert "EXECUTING" in running.text
    assert httpx.post(f"{job}/phase", data={"PHASE": "ABORT"}).status_code == 303
    assert httpx.get(f"{job}/phase").text == "ABORTED"
    # The database ends it too: its place is free again, and another one runs.
    if catalog_url.startswith("postgresql"):
        engine = create_engine(catalog_url)
        busy = (
            "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'FETCH%%'"
        )
        until = time.monotonic() + 20.0
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while connection.exec_driver_sql(busy).scalar_one() and time.monotonic() < until:
                time.sleep(0.1)
            assert connection.exec_driver_sql(busy).scalar_one() == 0
        engine.dispose()
    other = httpx.post(
        f"{service}/tap/async",
        data={"LANG": "ADQL", "QUERY": "SELECT TOP 1 * FROM ivoa.ObsCore", "PHASE": "RUN"},
    ).headers["location"]
    for phase in ("QUEUED", "EXECUTING"):
        httpx.get(other, params={"WAIT": "20", "PHASE": phase}, timeout=60)
    assert httpx.get(f"{other}/phase").text == "COMPLETED"
