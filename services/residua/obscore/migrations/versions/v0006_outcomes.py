"""The table of all outcomes, from which replays are planned."""

from alembic import op

from residua.obscore.table import arrival_outcome, metadata

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create it, empty; `residua catalog rebuild` fills it with what was before."""
    metadata.create_all(op.get_bind(), tables=[arrival_outcome])


def downgrade() -> None:
    """Remove it, with all it holds."""
    op.drop_table("arrival_outcome")
