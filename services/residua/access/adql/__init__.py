"""ADQL: from a client's text to one read-only SQL statement and the meaning of its columns."""

from residua.access.adql.cache import TranslationCache
from residua.access.adql.errors import AdqlError
from residua.access.adql.schema import ColumnSchema, TableSchema, UploadedTable
from residua.access.adql.translate import Statement, Translation, translate

__all__ = [
    "AdqlError",
    "ColumnSchema",
    "Statement",
    "TableSchema",
    "Translation",
    "TranslationCache",
    "UploadedTable",
    "translate",
]
