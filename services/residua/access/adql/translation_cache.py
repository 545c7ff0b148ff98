"""Statements that were translated before, by the shape of their query."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from residua.access.adql.errors import AdqlError
from residua.access.adql.literals import Query, Shape, read_literals
from residua.access.adql.queryable import TableSchema
from residua.access.adql.translate import Database, Statement, Translation, translate_query

__all__ = ["TranslationCache"]

_SHAPES = 256
_STATEMENTS = 4
# A long list of values is no shape that comes again, and its tokens are memory.
_LONGEST = 2_000
# Characters that are read in a fraction of a millisecond.
_SHORT = 1_500


class TranslationCache:
    """Translates queries; those that differ in their literals alone share a statement.

    Parameters
    ----------
    tables
        What may be queried.
    database
        Whose SQL is wanted.
    """

    def __init__(self, tables: Sequence[TableSchema], database: Database) -> None:
        self._tables = tables
        self._database: Database = database
        self._lock = Lock()
        self._statements: OrderedDict[Shape, list[Statement]] = OrderedDict()
        self.translated = 0
        """How many queries were translated anew."""

    def known(self, adql: str, max_rows: int) -> Translation | None:
        """Return the translation of a short query if it needs no work worth a thread."""
        if len(adql) > _SHORT:
            return None
        try:
            query = read_literals(adql)
            found = self._found(query)
            return None if found is None else found.translation(query.literals, max_rows)
        except AdqlError:
            return None

    def _found(self, query: Query) -> Statement | None:
        with self._lock:
            known = self._statements.get(query.shape)
            if known is not None:
                self._statements.move_to_end(query.shape)
            return next((s for s in known or () if s.serves(query.literals)), None)

    def translate(self, adql: str, max_rows: int) -> Translation:
        """Translate a query; see `residua.access.adql.translate`."""
        query = read_literals(adql)
        key = query.shape
        found = self._found(query)
        if found is not None:
            return found.translation(query.literals, max_rows)
        statement = translate_query(query, self._tables, self._database, limited=True)
        translation = statement.translation(query.literals, max_rows)
        with self._lock:
            self.translated += 1
            if len(query.shape) <= _LONGEST:
                statements = self._statements.setdefault(key, [])
                statements.insert(0, statement)
                del statements[_STATEMENTS:]
                while len(self._statements) > _SHAPES:
                    self._statements.popitem(last=False)
        return translation
