"""Thousands of malformed and hostile requests: no 5xx, no write, no other table, no overrun."""

import random
import time

import httpx
import pytest
import schemathesis
import sqlglot
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from sqlalchemy import create_engine, text
from sqlglot import exp
from tests.access.hostile import ALLOWED, FORBIDDEN, PATHS, mutated, parameters

from residua.access.adql import AdqlError, translate
from residua.access.settings import AccessSettings
from residua.access.store.public_tables import TABLES

SYNC_SECONDS = 2.0
# What a request may take beyond its query, on a busy machine.
GRACE_SECONDS = 15.0
MAX_ROWS = 50
# The first of them by default, all with ``-m slow``.
NUMBERS = [1_000, pytest.param(5_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("adql", FORBIDDEN)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_is_not_offered_is_refused_before_the_database(adql, database):
    with pytest.raises(AdqlError):
        translate(adql, TABLES, database)


@pytest.mark.parametrize("number", NUMBERS)
def test_malformed_queries_only_ever_raise_adql_errors(number):
    rng = random.Random(5)
    translated = 0
    for _ in range(number):
        adql = mutated(rng)
        for database in ("sqlite", "postgresql"):
            try:
                sql = translate(adql, TABLES, database, max_rows=11).sql
            except AdqlError:
                continue
            translated += 1
            tables = {
                t.name
                for t in sqlglot.parse_one(
                    sql, dialect="sqlite" if database == "sqlite" else "postgres"
                ).find_all(exp.Table)
            }
            assert tables <= ALLOWED, sql
    assert translated > number / 50


def contents(url):
    """Everything a write could have changed: rows, and the tables that there are."""
    engine = create_engine(url)
    tables = (
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        if engine.dialect.name == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    rows = "SELECT COUNT(*), SUM(s_ra), MAX(row_hash), MIN(row_hash) FROM obscore"
    with engine.connect() as connection:
        found = [connection.execute(text(query)).all() for query in (rows, tables)]
    engine.dispose()
    return found


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def target(request, tmp_path_factory, make_catalog, rows, run_service):
    directory = tmp_path_factory.mktemp("hostile")
    if request.param == "sqlite":
        url = f"sqlite:///{directory}/catalog.sqlite"
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database("residua_hostile", ["pg_sphere"])
    make_catalog(url, rows[:60])
    settings = AccessSettings(
        catalog_url=url,
        jobs_url=f"sqlite:///{directory}/jobs.sqlite",
        sync_seconds=SYNC_SECONDS,
        async_seconds=SYNC_SECONDS,
        max_rows=MAX_ROWS,
    )
    before = contents(url)
    with run_service(settings) as base:
        yield base
    assert contents(url) == before


@pytest.mark.parametrize("number", NUMBERS)
def test_hostile_requests_are_answered_without_a_server_error(target, number):
    rng = random.Random(7)
    answered = 0
    with httpx.Client(base_url=target, timeout=30.0) as client:
        for i in range(number):
            began = time.monotonic()
            if i % 2:
                data = {"LANG": "ADQL", "QUERY": mutated(rng), "MAXREC": rng.choice(["10", "99"])}
                answer = client.post("/tap/sync", data=data)
            elif i % 8:
                answer = client.get(rng.choice(PATHS), params=parameters(rng))
            else:
                answer = client.post(rng.choice(PATHS), data=dict(parameters(rng)))
            assert time.monotonic() - began < SYNC_SECONDS + GRACE_SECONDS, answer.request.url
            assert answer.status_code < 500, (answer.request.url, answer.text[:500])
            assert answer.text.count("<TR>") <= MAX_ROWS
            answered += answer.status_code == 200
    assert answered > number / 20


def test_a_query_ends_at_its_time_limit(target):
    query = (
        "SELECT COUNT(*) FROM ivoa.ObsCore a, ivoa.ObsCore b, ivoa.ObsCore c, ivoa.ObsCore d, "
        "ivoa.ObsCore e WHERE a.s_ra + b.s_ra + c.s_ra + d.s_ra > e.s_ra"
    )
    began = time.monotonic()
    answer = httpx.post(f"{target}/tap/sync", data={"LANG": "ADQL", "QUERY": query}, timeout=60)
    assert answer.status_code == 400
    assert "longer than 2 s; narrow it, or run it as a job" in answer.text
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("examples", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_the_api_keeps_its_own_description(target, examples):
    schema = schemathesis.openapi.from_url(f"{target}/openapi.json")
    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()
        _drive(strategy, target, examples)


def _drive(strategy, target, examples):
    @hypothesis_settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=strategy)
    def check(case):
        answer = case.call(base_url=target)
        assert answer.status_code < 500, (case.path, answer.text[:300])

    check()
