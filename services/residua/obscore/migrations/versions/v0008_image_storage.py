"""The table of images whose files are not kept for ever."""

from alembic import op

from residua.obscore.table import image_storage, metadata

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create it, empty: all files were kept until now."""
    metadata.create_all(op.get_bind(), tables=[image_storage])


def downgrade() -> None:
    """Remove it; `residua expire` finds out again what is not stored."""
    op.drop_table("image_storage")
