"""The ObsCore table: written by the catalog consumer, read by the access service."""

from residua.obscore.table import (
    BOOKKEEPING_COLUMNS,
    OBSCORE_COLUMNS,
    arrival_outcome,
    create_tables,
    dia_source,
    metadata,
    obscore,
    visit_detector,
)

__all__ = [
    "BOOKKEEPING_COLUMNS",
    "OBSCORE_COLUMNS",
    "arrival_outcome",
    "create_tables",
    "dia_source",
    "metadata",
    "obscore",
    "visit_detector",
]
