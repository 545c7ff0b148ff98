"""The index by which the newest outcomes are found and counted."""

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create it; a table that was made by 0006 of this version has it."""
    op.execute(
        "CREATE INDEX IF NOT EXISTS arrival_outcome_time ON arrival_outcome (recorded_ms, outcome)"
    )


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP INDEX IF EXISTS arrival_outcome_time")
