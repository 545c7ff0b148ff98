"""Functions clients may call, by name; geometry is apart."""

from residua.access.adql.functions.aggregates import AGGREGATES
from residua.access.adql.functions.function import Function
from residua.access.adql.functions.ivoa import IVOA
from residua.access.adql.functions.numbers import NUMERIC
from residua.access.adql.functions.strings import TEXTS

__all__ = ["FUNCTIONS", "Function"]

FUNCTIONS: dict[str, Function] = {**NUMERIC, **TEXTS, **AGGREGATES, **IVOA}
"""By ADQL name, upper case."""
