"""Asynchronous TAP: the rows of synchronous queries, limits, aborting."""

import tempfile
import time

import httpx
import pytest
import pyvo
from sqlalchemy import create_engine

from residua.access.settings import AccessSettings

LARGE = "CIRCLE('ICRS', 0.0, 0.0, 20.0)"


@pytest.fixture
def tap(service):
    return pyvo.dal.TAPService(f"{service}/tap")


def ids(table):
    return {str(value) for value in table["obs_publisher_did"]}


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


def a_result(base):
    """Run a job; return its path."""
    job = pyvo.dal.TAPService(f"{base}/tap").submit_job("SELECT TOP 1 s_ra FROM ivoa.ObsCore")
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60.0)
    return f"/tap/async/{job.job_id}/results/result"


def test_results_outlive_the_service_in_a_directory_of_their_own(
    make_catalog, run_service, rows, tmp_path, monkeypatch
):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, rows[:5])
    kept = AccessSettings(catalog_url=url, results_directory=tmp_path / "new" / "results")
    with run_service(kept) as base:
        path = a_result(base)
        table = httpx.get(f"{base}{path}").text
    with run_service(kept) as base:
        assert httpx.get(f"{base}{path}").text == table
    # Temporary ones are gone with the service, and the next one says so.
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with run_service(AccessSettings(catalog_url=url)) as base:
        path = a_result(base)
        assert any((tmp_path / "temporary").glob("residua-tap-*/*"))
    assert not any((tmp_path / "temporary").iterdir())
    with run_service(AccessSettings(catalog_url=url)) as base:
        answer = httpx.get(f"{base}{path}")
    assert answer.status_code == 404
    assert "not here any more" in answer.text


def test_without_tokens_jobs_are_private_to_who_made_them(service):
    data = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 s_ra FROM ivoa.ObsCore"}
    jobs = f"{service}/tap/async"
    with httpx.Client() as mine, httpx.Client() as other:
        job = mine.post(jobs, data=data).headers["location"]
        name = job.rsplit("/", 1)[1]
        assert name in mine.get(jobs).text
        # Neither another client nor one without a memory sees it in a list.
        other.post(jobs, data=data)
        for text in (other.get(jobs).text, httpx.get(jobs).text):
            assert name not in text
        # Its address is the key to it, and gives nothing else away.
        shown = httpx.get(job)
        assert shown.status_code == 200
        secret = mine.cookies["residua_jobs"]
        assert secret not in shown.text
        owner = httpx.get(f"{job}/owner").text
        forged = httpx.get(jobs, cookies={"residua_jobs": owner})
        assert name not in forged.text


def test_jobs_and_their_bytes_have_a_quota(make_catalog, run_service, rows, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, rows)
    data = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 s_ra FROM ivoa.ObsCore"}
    with run_service(AccessSettings(catalog_url=url, max_jobs=3)) as base:
        jobs = f"{base}/tap/async"
        made = [httpx.post(jobs, data=data) for _ in range(4)]
        assert [answer.status_code for answer in made] == [303, 303, 303, 429]
        assert "delete some" in made[-1].text
        httpx.delete(made[0].headers["location"])
        assert httpx.post(jobs, data=data).status_code == 303
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM uws_job")
    engine.dispose()
    with run_service(AccessSettings(catalog_url=url, max_results_bytes=1_000_000)) as base:
        jobs = f"{base}/tap/async"
        wide = {
            **data,
            "QUERY": "SELECT a.* FROM ivoa.ObsCore AS a, tap_schema.columns",
            "PHASE": "RUN",
        }
        job = httpx.post(jobs, data=wide).headers["location"]
        for phase in ("QUEUED", "EXECUTING"):
            httpx.get(job, params={"WAIT": 60, "PHASE": phase}, timeout=90)
        assert httpx.get(f"{job}/phase").text == "COMPLETED"
        assert httpx.post(jobs, data=data).status_code == 429


def test_a_table_of_jobs_from_before_gets_its_new_columns(
    make_catalog, run_service, rows, tmp_path
):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, rows[:5])
    with run_service(AccessSettings(catalog_url=url)) as base:
        a_result(base)
    engine = create_engine(url)
    with engine.begin() as connection:
        for name in ("sees_all", "creator", "result_bytes"):
            connection.exec_driver_sql(f"ALTER TABLE uws_job DROP COLUMN {name}")
    engine.dispose()
    with run_service(AccessSettings(catalog_url=url)) as base:
        a_result(base)
