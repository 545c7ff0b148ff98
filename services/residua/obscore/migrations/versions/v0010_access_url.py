"""No access URLs in the table: who serves the catalog makes them of the datasets' identities."""

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Drop the column; stop consumers of an older version first, they write it.

    PostgreSQL changes its catalog alone; SQLite writes every row anew, some 5 us each.
    """
    if _has_column():
        op.drop_column("obscore", "access_url")


def downgrade() -> None:
    """Put it back, empty: older services answer without URLs until the catalog is filled anew."""
    if not _has_column():
        op.add_column("obscore", sa.Column("access_url", sa.Text(), comment="URL of the links"))


def _has_column() -> bool:
    columns = sa.inspect(op.get_bind()).get_columns("obscore")
    return "access_url" in {column["name"] for column in columns}
