"""Batches copied into PostgreSQL leave the same rows as batches inserted into SQLite."""

import numpy as np
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.exc import DataError

from residua.catalog.writing.inserting import COPY_FROM
from residua.catalog.writing.upsert import newest, upsert_rows
from residua.obscore import create_tables, obscore

BATCHES = 12
LEAST_COPIED = 20


def revised(rows, seed):
    """Batches of random revisions and contents of the same datasets, large and small."""
    rng = np.random.default_rng(seed)
    for number in range(BATCHES):
        chosen = rng.choice(len(rows), LEAST_COPIED * 4 if number % 3 else 7)
        yield [
            {
                **rows[i],
                "revision": int(rng.integers(0, 4)),
                "row_hash": f"{number % 2}",
                "obs_title": f"batch {number}, with a \t, a \\ and a line\nbreak, é",
                "t_min": None if i % 5 == 0 else rows[i]["t_min"],
            }
            for i in chosen
        ]


@pytest.fixture
def engines(tmp_path, postgres):
    urls = (f"sqlite:///{tmp_path}/c.sqlite", postgres.create_database("bulk", ["pg_sphere"]))
    engines = [create_engine(url) for url in urls]
    for engine in engines:
        create_tables(engine)
    yield engines
    for engine in engines:
        engine.dispose()


def test_both_databases_hold_the_same_after_the_same_batches(engines, rows):
    assert COPY_FROM == LEAST_COPIED
    for batch in revised(rows, 3):
        counts = []
        for engine in engines:
            with engine.begin() as connection:
                counts.append(upsert_rows(connection, batch))
        assert counts[0] == counts[1] <= len(newest(batch))
    columns = [c for c in obscore.columns if c.name != "row_id"]
    query = select(*columns).order_by(obscore.c.dataset_id)
    held = []
    for engine in engines:
        with engine.connect() as connection:
            held.append([dict(row) for row in connection.execute(query).mappings()])
    assert held[0] == held[1]
    assert len(held[0]) > LEAST_COPIED


def test_two_copied_batches_fit_into_one_transaction_and_roll_back_together(engines, rows):
    engine = engines[1]
    with engine.connect() as connection:
        assert upsert_rows(connection, rows[:50]) == 50
        assert upsert_rows(connection, rows[:60]) == 10
        connection.rollback()
        assert connection.execute(select(obscore.c.row_id)).all() == []


def test_a_value_that_cannot_be_held_is_told_as_by_other_statements(engines, rows):
    broken = [*rows[:30], {**rows[30], "obs_title": "a \x00 within"}]
    with pytest.raises(DataError), engines[1].begin() as connection:
        upsert_rows(connection, broken)
    with engines[1].begin() as connection:
        assert upsert_rows(connection, rows[:30]) == 30
