"""The words of one upsert, for both databases, and a row's values in their order."""

from collections.abc import Callable
from functools import cache
from operator import itemgetter

from pydantic_core import to_json
from sqlalchemy import JSON

from residua.catalog.rows import JsonText, Row
from residua.obscore import obscore

__all__ = ["columns", "on_conflict", "values"]


@cache
def columns() -> tuple[str, ...]:
    """Names of the columns that are written, in the order of `values`; the key is the first."""
    rest = (c.name for c in obscore.columns if c.name not in {"row_id", "dataset_id"})
    return ("dataset_id", *rest)


@cache
def on_conflict() -> str:
    """Return what follows an INSERT: a row of the same dataset is replaced, or stays."""
    # Equal numbers and another content: of difference images, only releases before the ledger
    # did that, and the last one describes the file; a template has no other order than that of
    # its topic. Of a visit image different runs speak, in no order: any fixed choice will do.
    replace = ", ".join(f"{n} = excluded.{n}" for n in columns() if n != "dataset_id")
    return (
        f"ON CONFLICT (dataset_id) DO UPDATE SET {replace} "
        "WHERE excluded.revision > obscore.revision OR (excluded.revision = obscore.revision "
        "AND excluded.row_hash <> obscore.row_hash AND (obscore.dataset_type <> 'visit_image' "
        "OR excluded.row_hash > obscore.row_hash))"
    )


def values(row: Row) -> tuple[object, ...]:
    """Return what the driver is given for a row: JSON columns as text, the others as they are."""
    found = list(_in_order()(row))
    for place in _encoded():
        value = found[place]
        found[place] = value if isinstance(value, JsonText) else to_json(value).decode()
    return tuple(found)


@cache
def _in_order() -> Callable[[Row], tuple[object, ...]]:
    return itemgetter(*columns())


@cache
def _encoded() -> tuple[int, ...]:
    return tuple(n for n, name in enumerate(columns()) if isinstance(obscore.c[name].type, JSON))
