"""Migrations make the same database as creating the tables does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from residua.access.store.jobs import JobStore
from residua.access.store.jobs import metadata as of_jobs
from residua.errors import TransientError
from residua.obscore.migrate import current_version, upgrade
from residua.obscore.table import create_tables, metadata

OURS = {"obscore", "dia_source", "visit_detector", "arrival_outcome", "image_storage", "obsplan"}
OURS |= {"night_summary"}


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request, tmp_path):
    def make(name):
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.sqlite"
        return request.getfixturevalue("postgres").create_database(f"residua_{name}")

    return make


def shape(url):
    """Columns, indexes, triggers and functions, as the database itself tells them."""
    engine = create_engine(url)
    with engine.connect() as connection:
        inspector = inspect(connection)
        columns = {
            (table, c["name"]): (str(c["type"]), c["nullable"])
            for table in OURS & set(inspector.get_table_names())
            for c in inspector.get_columns(table)
        }
        if engine.dialect.name == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'alembic%'"
        else:
            names = ", ".join(f"'{name}'" for name in OURS)
            query = f"SELECT indexdef FROM pg_indexes WHERE tablename IN ({names})"
        others = {row[0] for row in connection.execute(text(query)) if "autoindex" not in row[0]}
    engine.dispose()
    return columns, others


def test_a_migrated_database_is_like_a_created_one(new_database):
    migrated, created = new_database("migrated"), new_database("created")
    upgrade(migrated)
    engine = create_engine(created)
    create_tables(engine)
    engine.dispose()
    assert shape(migrated) == shape(created)
    assert current_version(migrated) == "0011"


def test_the_newest_version_has_every_column_of_the_model(new_database):
    url = new_database("newest")
    upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in OURS},
        )
        differences = [
            d for d in compare_metadata(context, metadata) if d[0] in {"add_column", "add_table"}
        ]
    engine.dispose()
    assert not differences


def test_databases_that_were_only_created_are_taken_over(new_database):
    url = new_database("taken")
    engine = create_engine(url)
    create_tables(engine)
    engine.dispose()
    assert current_version(url) is None
    upgrade(url)
    upgrade(url)
    assert current_version(url) == "0011"


def test_a_migration_gives_up_rather_than_queue_readers_behind_it(postgres):
    url = postgres.create_database("residua_held")
    upgrade(url, "0009")
    engine = create_engine(url)
    with engine.connect() as reader:
        reader.execute(text("SELECT obs_publisher_did FROM obscore")).all()
        with pytest.raises(TransientError, match=r"held a table of the catalog for 0\.2 s"):
            upgrade(url, lock_seconds=0.2)
    assert current_version(url) == "0009"
    upgrade(url)
    assert current_version(url) == "0011"
    engine.dispose()


def test_what_fails_half_way_leaves_everything_as_it_was(new_database, monkeypatch):
    url = new_database("half")
    upgrade(url, "0005")
    before = shape(url)
    monkeypatch.setattr("residua.obscore.spatial.plan_ddl", lambda connection: ["CREATE NONSENSE"])
    with pytest.raises(SQLAlchemyError, match="NONSENSE"):
        upgrade(url)
    assert current_version(url) == "0005"
    assert shape(url) == before


@pytest.mark.parametrize("older", [True, False], ids=["older", "none"])
def test_replicas_that_start_at_once_all_find_the_newest_table_of_jobs(new_database, older):
    url = new_database(f"jobs_{older}")
    engine = create_engine(url)
    # SQLite's service is one process.
    replicas = 8 if engine.dialect.name == "postgresql" else 1
    if older:
        JobStore(engine, Path()).create_table()
        with engine.begin() as connection:
            for name in ("kind", "progress", "sees_all"):
                connection.execute(text(f"ALTER TABLE uws_job DROP COLUMN {name}"))
    barrier = Barrier(replicas)

    def start(_):
        own = create_engine(url)
        with own.connect():
            barrier.wait(30)
        JobStore(own, Path()).create_table()
        own.dispose()

    with ThreadPoolExecutor(replicas) as pool:
        list(pool.map(start, range(replicas)))
    there = {c["name"] for c in inspect(engine).get_columns("uws_job")}
    assert there == set(of_jobs.tables["uws_job"].columns.keys())
    job = JobStore(engine, Path(), "recreation").add("me", "me", {"ID": "x"}, 5.0, 1.0)
    assert (job.kind, job.progress, job.sees_all) == ("recreation", None, False)
    engine.dispose()
