"""On PostgreSQL the service needs a role that may read one table, and no more."""

from pathlib import Path

import httpx
import pytest
import pyvo
from astropy.table import Table
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from residua.access.app import create_app
from residua.access.settings import AccessSettings
from residua.access.store.jobs import JobsDatabaseError

SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "reader.sql"


@pytest.fixture(scope="module")
def reader_url(postgres, make_catalog, rows):
    url = postgres.create_database("residua_reader", ["pg_sphere"])
    make_catalog(url, rows[:60])
    engine = create_engine(url)
    # Twice: a new version of the file is run over an old one.
    for _ in range(2):
        with engine.begin() as connection:
            connection.exec_driver_sql(SQL.read_text(encoding="utf-8"))
    engine.dispose()
    return url.replace("//postgres@", "//residua_reader@")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM obscore",
        "SET TRANSACTION READ WRITE; UPDATE obscore SET s_ra = 0",
        "CREATE TABLE mine (x int)",
        "COPY obscore TO '/tmp/x'",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_the_role_can_neither_write_nor_look_around(reader_url, statement):
    engine = create_engine(reader_url)
    with pytest.raises(DBAPIError) as refused, engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    assert type(refused.value.orig).__name__ in {"InsufficientPrivilege", "ReadOnlySqlTransaction"}


def test_the_service_runs_on_the_role(reader_url, run_service, tmp_path):
    settings = AccessSettings(catalog_url=reader_url, jobs_url=f"sqlite:///{tmp_path}/jobs.sqlite")
    circle = "CIRCLE('ICRS', 0, 0, 90)"
    adql = f"SELECT * FROM ivoa.ObsCore WHERE 1 = INTERSECTS({circle}, s_region) ORDER BY s_ra"
    data = {"LANG": "ADQL", "QUERY": adql}
    with run_service(settings) as base:
        answer = httpx.post(f"{base}/tap/sync", data=data)
        assert answer.status_code == 200, answer.text
        assert answer.text.count("<TR>") > 5
        targets = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0]})
        uploaded = pyvo.dal.TAPService(f"{base}/tap").run_sync(
            "SELECT SUM(ra) AS s FROM TAP_UPLOAD.mine", uploads={"mine": targets}
        )
        assert uploaded[0]["s"] == 3.0
        job = httpx.post(f"{base}/tap/async", data={**data, "PHASE": "RUN"}).headers["location"]
        for phase in ("QUEUED", "EXECUTING"):
            httpx.get(job, params={"WAIT": "20", "PHASE": phase}, timeout=60)
        assert httpx.get(f"{job}/phase").text == "COMPLETED"


@pytest.mark.asyncio
async def test_a_missing_place_for_jobs_is_named(reader_url):
    app = create_app(AccessSettings(catalog_url=reader_url))
    with pytest.raises(JobsDatabaseError, match="RESIDUA_JOBS_URL"):
        async with app.router.lifespan_context(app):
            pass


def test_the_limits_of_the_role_are_set(reader_url):
    engine = create_engine(reader_url)
    with engine.connect() as connection:
        found = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("statement_timeout", "work_mem", "temp_file_limit")
        }
    engine.dispose()
    assert found == {"statement_timeout": "11min", "work_mem": "32MB", "temp_file_limit": "4GB"}
