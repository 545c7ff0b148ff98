"""ADQL: from a client's text to one read-only SQL statement and the meaning of its columns."""

from residua.access.adql.errors import AdqlError
from residua.access.adql.queryable import ColumnSchema, TableSchema, UploadedTable
from residua.access.adql.translate import Statement, Translation, translate
from residua.access.adql.translation_cache import TranslationCache

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
