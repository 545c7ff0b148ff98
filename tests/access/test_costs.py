"""Statements of a request, counted: as many for many rows and datasets as for one."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine, event

from residua.access.store import catalog_reader


@pytest.fixture
def statements(monkeypatch) -> Iterator[list[str]]:
    """Statements on rows that the service has sent to its database; the session's own left out."""
    found: list[str] = []

    def record(_connection, _cursor, statement, *_):
        if "obscore" in statement:
            found.append(statement)

    executed = catalog_reader._executed

    def recorded(connection, sql, parameters):
        found.append(sql)
        return executed(connection, sql, parameters)

    # Queries go to the driver itself, everything else through SQLAlchemy.
    monkeypatch.setattr(catalog_reader, "_executed", recorded)
    event.listen(Engine, "before_cursor_execute", record)
    yield found
    event.remove(Engine, "before_cursor_execute", record)


@pytest.mark.parametrize("most", [1, 50])
@pytest.mark.parametrize("path", ["sia/query", "tap/sync"])
def test_a_search_is_one_statement_however_much_it_finds(service, statements, path, most):
    query = f"SELECT TOP {most} * FROM ivoa.obscore"
    asked = {"MAXREC": most} if path == "sia/query" else {"LANG": "ADQL", "QUERY": query}
    answer = httpx.get(f"{service}/{path}", params=asked)
    assert answer.text.count("<TR>") == most
    assert len(statements) == 1, statements


@pytest.mark.parametrize("number", [1, 20])
def test_links_of_many_datasets_are_as_many_statements_as_of_one(service, statements, rows, number):
    asked = [("ID", row["obs_publisher_did"]) for row in rows[:number]]
    answer = httpx.get(f"{service}/datalink/links", params=asked)
    assert answer.status_code == 200
    assert answer.text.count("#this") >= number
    # The datasets, and what they were made of.
    assert len(statements) == 2, statements
