"""The tables of plans and arrivals (ObsLocTAP), and of nights that were closed."""

from alembic import op

from residua.obscore.spatial import plan_ddl
from residua.obscore.table import metadata, night_summary, obsplan

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create them, empty; `residua catalog rebuild` fills in what was before."""
    connection = op.get_bind()
    metadata.create_all(connection, tables=[obsplan, night_summary])
    for statement in plan_ddl(connection):
        op.execute(statement)


def downgrade() -> None:
    """Remove them, with all they hold."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE IF EXISTS obsplan_rtree")
    op.drop_table("night_summary")
    op.drop_table("obsplan")
