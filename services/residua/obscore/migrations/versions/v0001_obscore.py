"""The ObsCore table with its spatial indexes."""

import sqlalchemy as sa
from alembic import op

from residua.obscore.spatial import RTREE_TABLE, SPOLY_FUNCTION, spatial_ddl

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "obscore",
        sa.Column(
            "dataproduct_type", sa.Text(), nullable=False, comment="Type of the data product: image"
        ),
        sa.Column(
            "dataproduct_subtype",
            sa.Text(),
            comment="Data product as Rubin names it, for example lsst.difference_image",
        ),
        sa.Column("obs_title", sa.Text(), comment="One line for a person"),
        sa.Column("facility_name", sa.Text(), comment="Observatory and telescope"),
        sa.Column(
            "calib_level",
            sa.Integer(),
            nullable=False,
            comment="Calibration level, 3 for difference images and coadds",
        ),
        sa.Column("target_name", sa.Text(), comment="Target or field"),
        sa.Column("obs_id", sa.Text(), nullable=False, comment="Observation"),
        sa.Column("obs_collection", sa.Text(), nullable=False, comment="Data collection"),
        sa.Column(
            "obs_publisher_did",
            sa.Text(),
            nullable=False,
            comment="IVOA publisher dataset identifier",
        ),
        sa.Column("access_url", sa.Text(), comment="URL of the links"),
        sa.Column("access_format", sa.Text(), comment="Media type of what access_url answers"),
        sa.Column("access_estsize", sa.BigInteger(), comment="Size of the file, kB"),
        sa.Column(
            "s_ra",
            sa.Double(),
            comment="Right ascension of the centre of the bounding circle, ICRS",
        ),
        sa.Column(
            "s_dec", sa.Double(), comment="Declination of the centre of the bounding circle, ICRS"
        ),
        sa.Column("s_fov", sa.Double(), comment="Diameter of the bounding circle"),
        sa.Column("s_region", sa.Text(), comment="Footprint, ICRS, STC-S"),
        sa.Column("s_resolution", sa.Double(), comment="FWHM of the PSF"),
        sa.Column("s_xel1", sa.BigInteger(), comment="Columns"),
        sa.Column("s_xel2", sa.BigInteger(), comment="Rows"),
        sa.Column("t_xel", sa.BigInteger(), comment="Elements on the time axis"),
        sa.Column("t_min", sa.Double(), comment="Start of the exposure, MJD, UTC"),
        sa.Column("t_max", sa.Double(), comment="End of the exposure, MJD, UTC"),
        sa.Column("t_exptime", sa.Double(), comment="Exposure time"),
        sa.Column("t_resolution", sa.Double(), comment="Temporal resolution"),
        sa.Column("em_xel", sa.BigInteger(), comment="Elements on the spectral axis"),
        sa.Column("em_min", sa.Double(), comment="Blue end of the band, vacuum"),
        sa.Column("em_max", sa.Double(), comment="Red end of the band, vacuum"),
        sa.Column("em_res_power", sa.Double(), comment="Central wavelength over band width"),
        sa.Column("pol_xel", sa.BigInteger(), comment="Elements on the polarization axis"),
        sa.Column("pol_states", sa.Text(), comment="Polarization states; none here"),
        sa.Column("o_ucd", sa.Text(), comment="UCD of the pixels"),
        sa.Column("instrument_name", sa.Text(), comment="Instrument"),
        sa.Column(
            "obs_release_date", sa.Text(), comment="When the pixels become public, UTC, ISO 8601"
        ),
        sa.Column(
            "data_rights",
            sa.Text(),
            comment="Who may have the pixels: public, secure or proprietary; none: not restricted",
        ),
        sa.Column("lsst_visit", sa.BigInteger(), comment="Visit"),
        sa.Column("lsst_detector", sa.BigInteger(), comment="Detector"),
        sa.Column("lsst_tract", sa.BigInteger(), comment="Tract of the sky map"),
        sa.Column("lsst_patch", sa.BigInteger(), comment="Patch of the tract"),
        sa.Column("lsst_band", sa.Text(), comment="Band"),
        sa.Column("lsst_filter", sa.Text(), comment="Physical filter"),
        sa.Column(
            "row_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
            comment="Number of the row in this database",
        ),
        sa.Column(
            "dataset_id",
            sa.String(36),
            nullable=False,
            unique=True,
            comment="Identity of the dataset, UUID",
        ),
        sa.Column(
            "dataset_type",
            sa.String(64),
            nullable=False,
            comment="difference_image, template_coadd",
        ),
        sa.Column("record_key", sa.Text(), nullable=False, comment="Key of the Kafka record"),
        sa.Column(
            "run",
            sa.Text(),
            nullable=False,
            comment="Run the image belongs to; empty for templates",
        ),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="The newest revision wins"),
        sa.Column(
            "row_hash", sa.String(64), nullable=False, comment="sha256 of the row: equal repeats"
        ),
        sa.Column("day_obs", sa.Integer(), comment="Observing day, YYYYMMDD"),
        sa.Column("uri", sa.Text(), nullable=False, comment="Where the FITS file is"),
        sa.Column("checksum", sa.String(71), nullable=False, comment="sha256:... of the FITS file"),
        sa.Column(
            "size_bytes", sa.BigInteger(), nullable=False, comment="Size of the FITS file, bytes"
        ),
        sa.Column("preview_uri", sa.Text(), comment="Where the preview PNG is"),
        sa.Column(
            "progenitors",
            sa.JSON(),
            nullable=False,
            comment="What it was made of: list of {dataset_type, uri, checksum, dataset_id?, ...}",
        ),
        sa.Column("event", sa.JSON(), nullable=False, comment="The event the row was made from"),
    )
    op.create_index("obscore_did", "obscore", ["obs_publisher_did"])
    op.create_index("obscore_position", "obscore", ["s_dec", "s_ra"])
    op.create_index("obscore_record_key", "obscore", ["dataset_type", "record_key"])
    op.create_index("obscore_time", "obscore", ["t_min"])
    op.create_index("obscore_visit", "obscore", ["instrument_name", "lsst_visit", "lsst_detector"])
    for statement in spatial_ddl(op.get_bind()):
        op.execute(statement)


def downgrade() -> None:
    """Drop the table."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.drop_table("obscore")
    if is_sqlite:
        op.execute(f"DROP TABLE IF EXISTS {RTREE_TABLE}")
    else:
        op.execute(f"DROP FUNCTION IF EXISTS {SPOLY_FUNCTION}(text)")
