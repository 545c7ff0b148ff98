"""The ObsCore table: written by the catalog consumer, read by the access service."""

from residua.obscore.storage import Storage, has_storage, set_storage
from residua.obscore.table import (
    BOOKKEEPING_COLUMNS,
    COMPUTED_COLUMNS,
    OBSCORE_COLUMNS,
    arrival_outcome,
    create_tables,
    dia_source,
    image_storage,
    metadata,
    night_summary,
    obscore,
    obsplan,
    visit_detector,
)

__all__ = [
    "BOOKKEEPING_COLUMNS",
    "COMPUTED_COLUMNS",
    "OBSCORE_COLUMNS",
    "Storage",
    "arrival_outcome",
    "create_tables",
    "dia_source",
    "has_storage",
    "image_storage",
    "metadata",
    "night_summary",
    "obscore",
    "obsplan",
    "set_storage",
    "visit_detector",
]
