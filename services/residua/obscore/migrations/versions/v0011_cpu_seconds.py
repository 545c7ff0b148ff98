"""What each outcome cost, for who compares runs."""

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column, empty: both databases change their catalog alone.

    `residua catalog rebuild` fills it where the records' headers say.
    """
    if not _has_column():
        op.add_column("visit_detector", sa.Column("cpu_seconds", sa.Double()))


def downgrade() -> None:
    """Remove it, with what it holds."""
    if _has_column():
        op.drop_column("visit_detector", "cpu_seconds")


def _has_column() -> bool:
    columns = sa.inspect(op.get_bind()).get_columns("visit_detector")
    return "cpu_seconds" in {column["name"] for column in columns}
