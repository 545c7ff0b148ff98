"""Tables of detections and of visit-detectors."""

from alembic import op

from residua.obscore.spatial import DETECTIONS_RTREE, detections_ddl
from residua.obscore.table import dia_source, metadata, visit_detector

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create them, empty; `residua catalog rebuild` fills them with what was before."""
    connection = op.get_bind()
    metadata.create_all(connection, tables=[visit_detector, dia_source])
    for statement in detections_ddl(connection):
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Remove them, with all they hold."""
    op.drop_table("dia_source")
    op.drop_table("visit_detector")
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TABLE IF EXISTS {DETECTIONS_RTREE}")
