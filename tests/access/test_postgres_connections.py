"""Connections to PostgreSQL that end while they wait."""

from sqlalchemy import create_engine

from residua.access.store.catalog_reader import open_catalog
from residua.access.store.query_limits import Limits


def test_a_server_that_was_started_anew_is_not_noticed(postgres, make_catalog, rows):
    """Connections that died while they waited in the pool are replaced; none fails a query."""
    url = postgres.create_database("residua_anew", ["pg_sphere"])
    make_catalog(url, rows[:3])
    catalog = open_catalog(url, 2)
    count = catalog.translate("SELECT COUNT(*) AS n FROM ivoa.ObsCore", 10)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    for _ in range(3):
        assert [tuple(r) for b in catalog.rows(count, Limits(30.0)) for r in b] == [(3,)]
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert [tuple(r) for b in catalog.rows(count, Limits(30.0)) for r in b] == [(3,)]
    engine.dispose()
    catalog.engine.dispose()
