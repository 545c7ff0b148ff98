"""Alembic's entry: one connection, one transaction."""

from alembic import context
from sqlalchemy import create_engine

from residua.obscore.table import metadata


def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    assert url is not None
    engine = create_engine(url)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=True,
            # SQLite too takes back changes of tables, in a transaction that is begun by hand.
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if connection.dialect.name == "postgresql":
                milliseconds = int(1000 * context.config.attributes.get("lock_seconds", 10.0))
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")
            context.run_migrations()
    engine.dispose()


_run()
