"""The ObsCore table, and beside it those of detections and visit-detectors.

It has the 36 columns of Rubin's ``ivoa_obscore`` and four the IVOA standard adds
(``access_estsize``, ``pol_states``, ``obs_release_date``, ``data_rights``), but for ``access_url``,
which who serves the catalog makes, and the columns the services need beside them. Meanings, units,
UCDs and utypes of the public ones stand in ``ivoa_obscore.yaml``.
"""

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

from residua.obscore.indexes import index_ddl
from residua.obscore.schema import (
    COMPUTED_COLUMNS,
    OBSCORE_COLUMNS,
    SCHEMA_FILE,
    TABLES_FILE,
    ObsCoreColumn,
    obscore_columns,
    table_columns,
)
from residua.obscore.spatial import database_functions, detections_ddl, plan_ddl, spatial_ddl

__all__ = [
    "BOOKKEEPING_COLUMNS",
    "COMPUTED_COLUMNS",
    "OBSCORE_COLUMNS",
    "arrival_outcome",
    "create_all",
    "create_tables",
    "dia_source",
    "image_storage",
    "metadata",
    "night_summary",
    "obscore",
    "obsplan",
    "visit_detector",
]

metadata = MetaData()

# Text without a limit in the database: a value longer than the declared VO length must not stop
# the consumer.
_TYPES = {
    "string": Text,
    "unicode": Text,
    "text": Text,
    "int": Integer,
    "long": BigInteger,
    "double": Double,
}


def _column(column: ObsCoreColumn) -> Column[object]:
    kind = _TYPES[column.datatype]
    return Column(column.name, kind(), nullable=column.nullable, comment=column.description)


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
    *(_column(column) for column in obscore_columns() if column.name not in COMPUTED_COLUMNS),
    *_BOOKKEEPING,
    Index("obscore_did", "obs_publisher_did"),
    Index("obscore_position", "s_dec", "s_ra"),
    Index("obscore_record_key", "dataset_type", "record_key"),
)
"""One row per difference image, per visit image and per template coadd in force."""


def _own(name: str) -> list[Column[object]]:
    # Lower case: PostgreSQL's own, and what a query's names are read as.
    return [
        Column(
            column.name.lower(),
            _TYPES[column.datatype](),
            nullable=column.nullable,
            comment=column.description,
        )
        for column in table_columns(TABLES_FILE, name)
        if column.name != "visitDetectorId"
    ]


visit_detector = Table(
    "visit_detector",
    metadata,
    Column(
        "visitdetectorid",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="Number of the row in this database",
    ),
    *_own("visit_detector"),
    Column("row_hash", String(64), nullable=False, comment="sha256 of the row: equal repeats"),
    Index("visit_detector_dataset", "dataset_id", unique=True),
    Index("visit_detector_visit", "visit", "detector"),
    Index("visit_detector_time", "expmidptmjd"),
)
"""One row per visit-detector and run: its outcome, and the quality of its difference image."""

dia_source = Table(
    "dia_source",
    metadata,
    Column(
        "row_id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="Number of the row in this database",
    ),
    Column("visitdetectorid", BigInteger, nullable=False, comment="Row of visit_detector"),
    *_own("dia_source"),
    Index("dia_source_image", "visitdetectorid"),
    Index("dia_source_visit", "visit", "detector"),
    Index("dia_source_id", "diasourceid"),
)
"""One row per detection."""


arrival_outcome = Table(
    "arrival_outcome",
    metadata,
    Column("dataset_id", String(36), primary_key=True, comment="Identity of the image, UUID"),
    Column(
        "number",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="Among the outcomes of its dataset; the highest of an image is in force",
    ),
    Column("run", Text, nullable=False, comment="Run it belongs to"),
    Column("instrument", Text, nullable=False, comment="Instrument"),
    Column("visit", BigInteger, nullable=False, comment="Visit"),
    Column("detector", BigInteger, nullable=False, comment="Detector"),
    Column("outcome", String(16), nullable=False, comment="created, skipped or failed"),
    Column("day_obs", Integer, comment="Observing day, YYYYMMDD"),
    Column("recorded_ms", BigInteger, nullable=False, comment="Time of its record, ms since 1970"),
    Column("append_time_ms", BigInteger, comment="Place of the arrival in its topic"),
    Column("arrival_partition", BigInteger, comment="Place of the arrival in its topic"),
    Column("arrival_offset", BigInteger, comment="Place of the arrival in its topic"),
    Column("arrival", Text, nullable=False, comment="The arrival, JSON"),
    Index("arrival_outcome_visit", "visit", "detector"),
    Index("arrival_outcome_night", "day_obs"),
    Index("arrival_outcome_state", "outcome", "day_obs"),
    Index("arrival_outcome_run", "run", "recorded_ms"),
    Index("arrival_outcome_time", "recorded_ms", "outcome"),
)
"""One row per outcome, whatever it is: what replays are planned from."""


image_storage = Table(
    "image_storage",
    metadata,
    Column("dataset_id", String(36), primary_key=True, comment="Identity of the image, UUID"),
    Column(
        "number",
        BigInteger,
        nullable=False,
        comment="Of the outcome this is about; a later image of the dataset is stored for ever",
    ),
    Column(
        "storage",
        String(16),
        nullable=False,
        comment="recent: its file may be let go; expiring: it is just now; on demand: it is made "
        "again when somebody asks for it",
    ),
    Column("run", Text, nullable=False, comment="Run it belongs to"),
    Index("image_storage_state", "storage", "dataset_id"),
)
"""One row per difference image whose file is not kept for ever."""


obsplan = Table(
    "obsplan",
    metadata,
    Column(
        "row_id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="Number of the row in this database",
    ),
    Column(
        "plan_id",
        Text,
        nullable=False,
        comment="Instrument, visit (or group, while no visit is known) and detector",
    ),
    *map(_column, table_columns(SCHEMA_FILE, "obsplan")),
    Column(
        "precedence",
        BigInteger,
        nullable=False,
        comment="How well it is known: announced, arrived or read, and when",
    ),
    Index("obsplan_plan", "plan_id", unique=True),
    Index("obsplan_night", "day_obs", "instrument_name"),
    Index("obsplan_visit", "instrument_name", "lsst_visit", "lsst_detector"),
    Index("obsplan_group", "instrument_name", "lsst_group"),
    Index("obsplan_time", "t_min"),
)
"""One row per visit-detector that was announced or has arrived."""


night_summary = Table(
    "night_summary",
    metadata,
    Column("instrument", String(32), primary_key=True, comment="Instrument"),
    Column(
        "day_obs",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="Observing day, YYYYMMDD",
    ),
    Column("run", Text, primary_key=True, comment="Run; empty where the night had none"),
    Column("event", Text, nullable=False, comment="The summary that was sent, JSON"),
)
"""One row per night that was closed: its summary is sent once."""


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
    for statement in (
        *spatial_ddl(connection),
        *database_functions(connection),
        *index_ddl(connection),
        *detections_ddl(connection),
        *plan_ddl(connection),
    ):
        connection.exec_driver_sql(statement)
