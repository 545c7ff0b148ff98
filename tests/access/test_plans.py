"""Index and generated SQL are checked together: what notebooks and dashboards ask scans nothing.

The default run plans over 20,000 rows, ``-m slow`` over 1,000,000 (PostgreSQL).
"""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, event
from tests.benchmarks.access_sources import fill_sources, source_cone, source_positions
from tests.benchmarks.catalog_rows import FIRST_NIGHT, fill

from residua.access.adql import translate
from residua.access.dali.parameters import Parameters
from residua.access.limits.cancellation import Cancellation
from residua.access.protocols.sia import sia_adql
from residua.access.settings import AccessSettings
from residua.access.store import catalog_reader as store
from residua.access.store.catalog_reader import open_catalog
from residua.access.store.public_tables import TABLES
from residua.access.store.query_limits import Limits
from residua.access.store.seen import SERVICE, as_seen
from residua.access.work.query import views_of
from residua.catalog.writing.transaction import open_database

SUBTYPE = "dataproduct_subtype = 'lsst.difference_image'"

# Name, query, what the plan names on PostgreSQL, and on SQLite.
QUERIES = [
    ("newest images", "SELECT TOP 10 * FROM ivoa.ObsCore ORDER BY t_min DESC",
     "obscore_newest", "obscore_newest"),
    ("newest r images",
     "SELECT TOP 10 * FROM ivoa.ObsCore WHERE lsst_band = 'r' ORDER BY t_min DESC",
     "newest", "newest"),
    ("newest r difference images",
     f"SELECT TOP 10 * FROM ivoa.ObsCore WHERE lsst_band = 'r' AND {SUBTYPE} ORDER BY t_min DESC",
     "newest", "newest"),
    ("oldest images", "SELECT TOP 10 * FROM ivoa.ObsCore ORDER BY t_min",
     "obscore_newest", "obscore_newest"),
    ("since", f"SELECT TOP 10 * FROM ivoa.ObsCore WHERE t_min > {FIRST_NIGHT} ORDER BY t_min",
     "obscore_newest", "obscore_newest"),
    ("band and hour", f"""SELECT * FROM ivoa.ObsCore WHERE lsst_band = 'r'
     AND t_min BETWEEN {FIRST_NIGHT} AND {FIRST_NIGHT + 0.01}""", "newest", "newest"),
    ("a visit", "SELECT * FROM ivoa.ObsCore WHERE lsst_visit = 2024110800245",
     "obscore_lsst_visit", "obscore_lsst_visit"),
    ("a visit-detector",
     "SELECT * FROM ivoa.ObsCore WHERE lsst_visit = 2024110800245 AND lsst_detector = 3",
     "obscore_lsst_visit", "obscore_lsst_visit"),
    ("point in footprint", f"""SELECT * FROM ivoa.ObsCore WHERE {SUBTYPE}
     AND CONTAINS(POINT('ICRS', 53.16, -28.1), s_region) = 1""", "obscore_bounds", "obscore_rtree"),
    ("cone", """SELECT TOP 100 * FROM ivoa.ObsCore WHERE CONTAINS(POINT('ICRS', s_ra, s_dec),
     CIRCLE('ICRS', 53.16, -28.1, 0.5)) = 1""", "obscore_point", "obscore_rtree"),
    ("distance", """SELECT * FROM ivoa.ObsCore
     WHERE DISTANCE(POINT(s_ra, s_dec), POINT(53.16, -28.1)) < 0.5""",
     "obscore_point", "obscore_rtree"),
    ("a dataset", "SELECT * FROM ivoa.ObsCore WHERE obs_publisher_did = 'ivo://org.example/x?id=1'",
     "obscore_did", "obscore_did"),
    ("SIA circle", sia_adql(Parameters({"POS": ["CIRCLE 53.16 -28.1 0.5"]})),
     "obscore_bounds", "obscore_rtree"),
    ("SIA circle and time", sia_adql(Parameters(
        {"POS": ["CIRCLE 53.16 -28.1 0.5"], "TIME": [f"{FIRST_NIGHT} {FIRST_NIGHT + 5}"]})),
     "obscore_bounds", "obscore_rtree"),
]  # fmt: skip


def filled(url, rows, *, bulk):
    engine = open_database(url)
    fill(engine, rows, bulk=bulk)
    engine.dispose()
    # Plans are those of the database's own statistics.
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
    return open_catalog(url, 2)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(request, tmp_path_factory):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/catalog.sqlite"
        opened = filled(url, 6_000, bulk=False)
    else:
        server = request.getfixturevalue("postgres")
        opened = filled(server.create_database("plans", ["pg_sphere"]), 20_000, bulk=True)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="module")
def large(postgres):
    opened = filled(postgres.create_database("large", ["pg_sphere"]), 1_000_000, bulk=True)
    yield opened
    opened.engine.dispose()


def plan_of(catalog, adql):
    translation = translate(adql, TABLES, catalog.kind, max_rows=10_001)
    words = "EXPLAIN QUERY PLAN" if catalog.kind == "sqlite" else "EXPLAIN (COSTS OFF)"
    sql = f"{words} {as_seen(translation.sql, catalog.kind, {})}"
    parameters = {**translation.parameters, SERVICE: "http://localhost"}
    with catalog.engine.connect() as connection:
        found = connection.exec_driver_sql(sql, parameters)
        return "\n".join(str(row[-1]) for row in found)


def check(catalog, adql, postgres_index, sqlite_index):
    plan = plan_of(catalog, adql)
    index = sqlite_index if catalog.kind == "sqlite" else postgres_index
    assert index in plan, plan
    assert not re.search(r"Seq Scan on obscore|SCAN obscore$", plan, re.MULTILINE), plan
    if "ORDER BY" in adql:
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


@pytest.mark.parametrize(("adql", "postgres_index", "sqlite_index"), [q[1:] for q in QUERIES],
                         ids=[q[0] for q in QUERIES])  # fmt: skip
def test_tutorial_queries_are_answered_by_an_index(catalog, adql, postgres_index, sqlite_index):
    check(catalog, adql, postgres_index, sqlite_index)


@pytest.mark.slow
@pytest.mark.parametrize(("adql", "postgres_index", "sqlite_index"), [q[1:] for q in QUERIES],
                         ids=[q[0] for q in QUERIES])  # fmt: skip
def test_they_are_at_a_million_rows(large, adql, postgres_index, sqlite_index):
    check(large, adql, postgres_index, sqlite_index)


@pytest.fixture(scope="module")
def detections(postgres):
    url = postgres.create_database("detections", ["pg_sphere"])
    engine = open_database(url)
    fill(engine, 40, bulk=True)
    fill_sources(engine, 40_000)
    opened = open_catalog(url, 2)
    yield opened, source_positions(engine, 1)[0]
    opened.engine.dispose()
    engine.dispose()


def test_rights_of_detections_are_looked_up_by_image_and_only_of_what_is_found(detections):
    """A cone is taken for a thousandth of the table: the rights of all images would be joined."""
    catalog, place = detections
    settings = AccessSettings(catalog_url=catalog.engine.url.render_as_string())
    views = views_of(SimpleNamespace(settings=settings, catalog=catalog), sees_all=False)
    translation = catalog.translate(source_cone(*place), 10_000)
    seen = replace(
        translation, sql=f"EXPLAIN (COSTS OFF) {as_seen(translation.sql, catalog.kind, views)}"
    )
    plan = "\n".join(row[0] for batch in catalog.rows(seen, Limits(60.0)) for row in batch)
    assert "dia_source_point" in plan
    assert "Memoize" in plan
    assert not re.search(r"Hash|Merge|Materialize", plan), plan
    found = [row for batch in catalog.rows(translation, Limits(60.0), views) for row in batch]
    assert found


def test_an_sia_query_is_one_statement(catalog, monkeypatch):
    """One statement a search, and on PostgreSQL one before it: the transaction and its limits."""
    statements = []

    def recorded(name):
        inner = getattr(store, name)

        def call(connection, *arguments):
            statements.append((name, *arguments))
            return inner(connection, *arguments)

        monkeypatch.setattr(store, name, call)

    recorded("_executed")
    recorded("reading")
    through_sqlalchemy = []
    record = lambda *arguments: through_sqlalchemy.append(arguments)  # noqa: E731
    event.listen(catalog.engine, "before_cursor_execute", record)
    try:
        adql = sia_adql(Parameters({"POS": ["CIRCLE 53.16 -28.1 0.5"]}))
        for batch in catalog.rows(catalog.translate(adql, 100), Limits(60.0, Cancellation())):
            assert batch is not None
    finally:
        event.remove(catalog.engine, "before_cursor_execute", record)
    assert not through_sqlalchemy
    expected = ["_executed"] if catalog.kind == "sqlite" else ["reading", "_executed"]
    assert [name for name, *_ in statements] == expected
