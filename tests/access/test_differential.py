"""Random typed queries: SQLite, PostgreSQL and an evaluation in Python give the same rows.

The evaluation shares no code with the service. ``-m slow`` runs 2,500 queries.
"""

import math
import random

import pytest
from tests.access.differential.queries import SKIP, random_query

from residua.access.adql import translate
from residua.access.dali.cells import checked
from residua.access.limits.cancellation import Cancellation
from residua.access.store.catalog_reader import open_catalog
from residua.access.store.public_tables import TABLES
from residua.access.store.query_limits import Limits

NAMES = (None, "ünï", "ÜNÏ x", "back\\slash", "100%", "12", " 7 ", "-3.9", "1e3", "it's", "ß", "")
NUMBERS = (None, 0, 1, -1, 7, 2**31, -(2**31), 2**53 + 1, 2**62, 2**63 - 1, -(2**63))


@pytest.fixture(scope="module")
def table(rows):
    """Few rows of many kinds: NULL, extremes, other alphabets, an image without a footprint."""
    rng = random.Random(7)
    chosen = [dict(row) for row in [*rows[:48], *rows[-5:]]]
    for i, row in enumerate(chosen):
        row["target_name"] = rng.choice(NAMES)
        row["lsst_patch"] = rng.choice(NUMBERS)
        row["lsst_tract"] = rng.choice((None, 3, 10, -5))
        row["t_exptime"] = rng.choice((None, 0.0, 30.0, 29.999999999999996, 1e-30, 1e30))
        row["calib_level"] = rng.choice((0, 2, 3))
        row["lsst_visit"] = row["lsst_visit"] or (None if i % 2 else 2026112200003)
        if i % 13 == 0:
            row.update(s_ra=None, s_dec=None, s_region=None, s_fov=None)
    return chosen


@pytest.fixture(scope="module")
def databases(table, make_catalog, postgres, tmp_path_factory):
    urls = [
        f"sqlite:///{tmp_path_factory.mktemp('differential')}/catalog.sqlite",
        postgres.create_database("residua_differential", ["pg_sphere"]),
    ]
    catalogs = []
    for url in urls:
        make_catalog(url, table)
        catalogs.append(open_catalog(url, 2))
    yield catalogs
    for catalog in catalogs:
        catalog.engine.dispose()


def run(catalog, sql):
    translation = translate(sql, TABLES, catalog.kind)
    batches = catalog.rows(translation, Limits(60.0, Cancellation()))
    rows = [tuple(row) for batch in checked(translation.columns, batches) for row in batch]
    return rows, [column.kind for column in translation.columns]


def same(a, b):
    if a is SKIP or b is SKIP:
        return True
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return a == b
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return a == b or math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300)


def in_order(rows):
    def key(cell):
        if cell is None or cell is SKIP:
            return (0, 0.0, "")
        if isinstance(cell, str):
            return (2, 0.0, cell)
        return (1, cell, "")

    return sorted(rows, key=lambda row: [key(cell) for cell in row])


def check(seed, databases, table):
    query = random_query(random.Random(seed), table)
    skipped = any(SKIP in row for row in query.rows)
    expected = query.rows if query.ordered or skipped else in_order(query.rows)
    for catalog in databases:
        found, kinds = run(catalog, query.sql)
        words = f"seed {seed}, {catalog.kind}: {query.sql}"
        wanted = ["long" if k == "long" else k for k in query.kinds]
        assert ["long" if k == "int" else k for k in kinds] == wanted, words
        if skipped:
            assert len(found) == len(expected), words
            continue
        found = found if query.ordered else in_order(found)
        assert len(found) == len(expected), words
        for a, b in zip(found, expected, strict=True):
            assert all(map(same, a, b)), f"{words}\n{a}\n{b}"


@pytest.mark.parametrize("start", range(0, 400, 50))
def test_both_databases_answer_as_python_does(databases, table, start):
    for seed in range(start, start + 50):
        check(seed, databases, table)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1_000, 3_500, 100))
def test_2500_queries_are_answered_as_python_does(databases, table, start):
    for seed in range(start, start + 100):
        check(seed, databases, table)
