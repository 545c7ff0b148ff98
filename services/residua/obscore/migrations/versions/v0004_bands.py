"""Wavelengths of rows that name a band and nothing more, as new rows have them."""

import sqlalchemy as sa
from alembic import op

from residua.obscore.bands import NOMINAL_BANDS

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Fill them in; templates registered again bring their instrument as well."""
    columns = ("lsst_band", "em_min", "em_max", "em_res_power")
    obscore = sa.table("obscore", *(sa.column(name) for name in columns))
    for band, (low, high) in NOMINAL_BANDS.items():
        op.execute(
            sa.update(obscore)
            .where(obscore.c.lsst_band == band, obscore.c.em_min.is_(None))
            .values(em_min=low, em_max=high, em_res_power=(low + high) / 2.0 / (high - low))
        )


def downgrade() -> None:
    """Leave them: they are right."""
