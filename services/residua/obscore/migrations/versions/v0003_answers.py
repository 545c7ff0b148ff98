"""Functions of the translated queries, and indexes in the order of their answers."""

from alembic import op

from residua.obscore.indexes import INDEXES, index_ddl
from residua.obscore.spatial import database_functions

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create them, about 3 us a row and index; the table can be read, not written, meanwhile."""
    connection = op.get_bind()
    for statement in (*database_functions(connection), *index_ddl(connection)):
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Put the old indexes back; the functions harm nobody."""
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.create_index("obscore_time", "obscore", ["t_min"])
    op.create_index("obscore_visit", "obscore", ["instrument_name", "lsst_visit", "lsst_detector"])
