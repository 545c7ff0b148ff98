"""The ObsCore table.

It has the 36 columns of Rubin's ``ivoa_obscore``, four the IVOA standard adds
(``access_estsize``, ``pol_states``, ``obs_release_date``, ``data_rights``), and the columns the
services need beside them.

Every ObsCore column carries its unit, UCD and utype in ``Column.info``, so that whoever
describes the table (TAP_SCHEMA, VOTable fields) reads them from here.

Sources: sdm-schemas.lsst.io (ivoa_obscore), IVOA ObsCore 1.1.
"""

from typing import Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from residua.obscore.spatial import spatial_ddl

__all__ = [
    "BOOKKEEPING_COLUMNS",
    "OBSCORE_COLUMNS",
    "create_all",
    "create_tables",
    "metadata",
    "obscore",
]

metadata = MetaData()

type _Kind = Literal["text", "int", "long", "double", "clob"]

_PLACE = "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2"
_TIME_LIMITS = "Char.TimeAxis.Coverage.Bounds.Limits"
_BAND_LIMITS = "Char.SpectralAxis.Coverage.Bounds.Limits"

# name, kind, length of text, unit, UCD, utype, description
_OBSCORE: tuple[tuple[str, _Kind, int | None, str | None, str, str | None, str], ...] = (
    ("dataproduct_type", "text", 128, None, "meta.code.class", "ObsDataset.dataProductType",
     "Type of the data product: image"),
    ("dataproduct_subtype", "text", 64, None, "meta.code.class", "ObsDataset.dataProductSubtype",
     "Data product as Rubin names it, for example lsst.difference_image"),
    ("obs_title", "text", 256, None, "meta.title;obs", "DataID.title", "One line for a person"),
    ("facility_name", "text", 128, None, "meta.id;instr.tel", "Provenance.ObsConfig.Facility.name",
     "Observatory and telescope"),
    ("calib_level", "int", None, None, "meta.code;obs.calib", "ObsDataset.calibLevel",
     "Calibration level, 3 for difference images and coadds"),
    ("target_name", "text", 32, None, "meta.id;src", "Target.name", "Target or field"),
    ("obs_id", "text", 128, None, "meta.id", "DataID.observationID", "Observation"),
    ("obs_collection", "text", 128, None, "meta.id", "DataID.collection", "Data collection"),
    ("obs_publisher_did", "text", 128, None, "meta.ref.ivoid", "Curation.publisherDID",
     "IVOA publisher dataset identifier"),
    ("access_url", "clob", None, None, "meta.ref.url", "Access.reference", "URL of the links"),
    ("access_format", "text", 128, None, "meta.code.mime", "Access.format",
     "Media type of what access_url answers"),
    ("access_estsize", "long", None, "kbyte", "phys.size;meta.file", "Access.size",
     "Size of the file, kB"),
    ("s_ra", "double", None, "deg", "pos.eq.ra", f"{_PLACE}.C1",
     "Right ascension of the centre of the bounding circle, ICRS"),
    ("s_dec", "double", None, "deg", "pos.eq.dec", f"{_PLACE}.C2",
     "Declination of the centre of the bounding circle, ICRS"),
    ("s_fov", "double", None, "deg", "phys.angSize;instr.fov",
     "Char.SpatialAxis.Coverage.Bounds.Extent.diameter", "Diameter of the bounding circle"),
    ("s_region", "text", 512, None, "pos.outline;obs.field",
     "Char.SpatialAxis.Coverage.Support.Area", "Footprint, ICRS, STC-S"),
    ("s_resolution", "double", None, "arcsec", "pos.angResolution",
     "Char.SpatialAxis.Resolution.Refval.value", "FWHM of the PSF"),
    ("s_xel1", "long", None, None, "meta.number", "Char.SpatialAxis.numBins1", "Columns"),
    ("s_xel2", "long", None, None, "meta.number", "Char.SpatialAxis.numBins2", "Rows"),
    ("t_xel", "long", None, None, "meta.number", "Char.TimeAxis.numBins",
     "Elements on the time axis"),
    ("t_min", "double", None, "d", "time.start;obs.exposure", f"{_TIME_LIMITS}.StartTime",
     "Start of the exposure, MJD, UTC"),
    ("t_max", "double", None, "d", "time.end;obs.exposure", f"{_TIME_LIMITS}.StopTime",
     "End of the exposure, MJD, UTC"),
    ("t_exptime", "double", None, "s", "time.duration;obs.exposure",
     "Char.TimeAxis.Coverage.Support.Extent", "Exposure time"),
    ("t_resolution", "double", None, "s", "time.resolution",
     "Char.TimeAxis.Resolution.Refval.value", "Temporal resolution"),
    ("em_xel", "long", None, None, "meta.number", "Char.SpectralAxis.numBins",
     "Elements on the spectral axis"),
    ("em_min", "double", None, "m", "em.wl;stat.min", f"{_BAND_LIMITS}.LoLimit",
     "Blue end of the band, vacuum"),
    ("em_max", "double", None, "m", "em.wl;stat.max", f"{_BAND_LIMITS}.HiLimit",
     "Red end of the band, vacuum"),
    ("em_res_power", "double", None, None, "spect.resolution",
     "Char.SpectralAxis.Resolution.ResolPower.refVal", "Central wavelength over band width"),
    ("pol_xel", "long", None, None, "meta.number", "Char.PolarizationAxis.numBins",
     "Elements on the polarization axis"),
    ("pol_states", "text", 32, None, "meta.code;phys.polarization",
     "Char.PolarizationAxis.stateList", "Polarization states; none here"),
    ("o_ucd", "text", 32, None, "meta.ucd", "Char.ObservableAxis.ucd", "UCD of the pixels"),
    ("instrument_name", "text", 128, None, "meta.id;instr",
     "Provenance.ObsConfig.Instrument.name", "Instrument"),
    ("obs_release_date", "text", 32, None, "time.release", "Curation.releaseDate",
     "When the pixels become public, UTC, ISO 8601"),
    ("data_rights", "text", 32, None, "meta.code", "Curation.rights",
     "Who may have the pixels: public, secure or proprietary; none: not restricted"),
    ("lsst_visit", "long", None, None, "meta.id;obs", None, "Visit"),
    ("lsst_detector", "long", None, None, "meta.id.part;instr.det", None, "Detector"),
    ("lsst_tract", "long", None, None, "meta.id", None, "Tract of the sky map"),
    ("lsst_patch", "long", None, None, "meta.id.part", None, "Patch of the tract"),
    ("lsst_band", "text", 10, None, "meta.id;instr.bandpass", None, "Band"),
    ("lsst_filter", "text", 10, None, "meta.id;instr.filter", None, "Physical filter"),
)  # fmt: skip

_NOT_NULL = frozenset(
    {"dataproduct_type", "calib_level", "obs_id", "obs_collection", "obs_publisher_did"}
)


def _column(
    name: str,
    kind: _Kind,
    length: int | None,
    unit: str | None,
    ucd: str,
    utype: str | None,
    description: str,
) -> Column[object]:
    # Text without a limit in the database: a value longer than the declared VO length must not
    # stop the consumer. `length` is what is declared to VO clients.
    types = {"text": Text, "clob": Text, "int": Integer, "long": BigInteger, "double": Double}
    info = {"kind": kind, "length": length, "unit": unit, "ucd": ucd, "utype": utype}
    return Column(
        name, types[kind](), nullable=name not in _NOT_NULL, comment=description, info=info
    )


OBSCORE_COLUMNS: tuple[str, ...] = tuple(entry[0] for entry in _OBSCORE)
"""Names of the public columns, in the order of the schema."""

_BOOKKEEPING: tuple[Column[object], ...] = (
    Column(
        # The R*Tree refers to it; SQLite may renumber rows that have no integer key.
        "row_id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="Number of the row in this database",
    ),
    Column(
        "dataset_id",
        String(36),
        nullable=False,
        unique=True,
        comment="Identity of the dataset, UUID",
    ),
    Column("dataset_type", String(64), nullable=False, comment="difference_image, template_coadd"),
    Column("record_key", Text, nullable=False, comment="Key of the Kafka record"),
    Column("run", Text, nullable=False, comment="Run the image belongs to; empty for templates"),
    Column("revision", BigInteger, nullable=False, comment="The newest revision wins"),
    Column("row_hash", String(64), nullable=False, comment="sha256 of the row: equal repeats"),
    Column("day_obs", Integer, comment="Observing day, YYYYMMDD"),
    Column("uri", Text, nullable=False, comment="Where the FITS file is"),
    Column("checksum", String(71), nullable=False, comment="sha256:... of the FITS file"),
    Column("size_bytes", BigInteger, nullable=False, comment="Size of the FITS file, bytes"),
    Column("preview_uri", Text, comment="Where the preview PNG is"),
    Column(
        "progenitors",
        JSON,
        nullable=False,
        comment="What it was made of: list of {dataset_type, uri, checksum, dataset_id?, ...}",
    ),
    Column("event", JSON, nullable=False, comment="The event the row was made from"),
)

BOOKKEEPING_COLUMNS: tuple[str, ...] = tuple(column.name for column in _BOOKKEEPING)
"""Names of the columns that are not part of ObsCore."""

obscore = Table(
    "obscore",
    metadata,
    *(_column(*entry) for entry in _OBSCORE),
    *_BOOKKEEPING,
    Index("obscore_did", "obs_publisher_did"),
    Index("obscore_position", "s_dec", "s_ra"),
    Index("obscore_time", "t_min"),
    Index("obscore_visit", "instrument_name", "lsst_visit", "lsst_detector"),
    Index("obscore_record_key", "dataset_type", "record_key"),
)
"""One row per difference image and per template coadd in force."""


def create_tables(engine: Engine) -> None:
    """Create what is missing, with the spatial indexes; several processes may do it at once."""
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # Readers go on while a batch is written. The setting stays with the file.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.commit()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7364297)")
        create_all(connection)
        connection.commit()


def create_all(connection: Connection) -> None:
    """Create what is missing within the caller's transaction."""
    metadata.create_all(connection, checkfirst=True)
    for statement in spatial_ddl(connection):
        connection.exec_driver_sql(statement)
