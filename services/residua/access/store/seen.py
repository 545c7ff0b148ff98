"""Tables as a query sees them: the rows it may see, and the column that only a reader can fill.

A common table expression hides the table of its name, in subqueries and joins too. It is opened
like a view, so that the indexes serve.
"""

from collections.abc import Mapping
from typing import Literal

from residua.obscore import obscore
from residua.obscore.spatial import SPOLY_COLUMN

__all__ = ["SERVICE", "as_seen"]

SERVICE = "residua_service"
"""Parameter of a statement with access URLs: the address this service is reached under."""

_ACCESS_URL = '"access_url"'
# What an IVOA identifier may hold and a query's value may not; the percent sign comes first.
_ENCODED = {c: f"%{ord(c):02X}" for c in "%:/?=&#+; "}


def as_seen(
    sql: str,
    database: Literal["sqlite", "postgresql"],
    views: Mapping[str, str],
    *,
    escaped: bool = False,
) -> str:
    """Let tables stand for what of them may be seen, wherever they are named.

    A statement that names ``access_url`` has the parameter `SERVICE` afterwards: the catalog does
    not know where it is served, so the URL is made of the dataset's identity, wherever in the
    query it stands.

    Parameters
    ----------
    views
        By name of a table, what follows it in a FROM clause that gives those of its rows that the
        query may see.
    escaped
        Whether it is a statement of our own, written as SQLAlchemy's text; those name no URL.
    """
    with_urls = _ACCESS_URL in sql and not escaped
    parts = []
    for name in dict.fromkeys([*views, *([obscore.name] if with_urls else [])]):
        if f'"{name}"' not in sql:
            continue
        columns = f'"{name}".*'
        if with_urls and name == obscore.name:
            # Named one by one: a database that was not migrated has a column of that name.
            named = [column.name for column in obscore.columns]
            if database == "postgresql":
                named.append(SPOLY_COLUMN)
            stored = ", ".join(f'"{name}"."{column}"' for column in named)
            columns = f"{stored}, {_access_url()} AS {_ACCESS_URL}"
        schema = "main." if database == "sqlite" else ""
        rows = f'{schema}"{name}"{views.get(name, "")}'
        part = f'"{name}" AS NOT MATERIALIZED (SELECT {columns} FROM {rows})'  # noqa: S608 our own words
        if database == "postgresql" and not escaped:
            # psycopg takes a percent sign for a parameter.
            part = part.replace("%", "%%")
        parts.append(part.replace(_PLACE, _PLACES[database]))
    if not parts:
        return sql
    if sql.startswith("WITH "):
        return f"WITH {', '.join(parts)}, {sql[5:]}"
    return f"WITH {', '.join(parts)} {sql}"


_PLACE = "{service}"
_PLACES = {"sqlite": f":{SERVICE}", "postgresql": f"CAST(%({SERVICE})s AS TEXT)"}


def _access_url() -> str:
    identifier = f'"{obscore.name}"."obs_publisher_did"'
    for plain, encoded in _ENCODED.items():
        identifier = f"REPLACE({identifier}, '{plain}', '{encoded}')"
    return f"{_PLACE} || '/datalink/links?ID=' || {identifier}"
