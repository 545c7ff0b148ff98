"""Registries and repositories: SQLite and PostgreSQL, local files and S3."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.servers.postgres import PostgresServer, postgres_missing, running_postgres
from tests.support.servers.s3 import S3Server, running_s3, s3_missing

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository
from residua.instruments import InstrumentRegistry

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg")
    if reason := postgres_missing("btree_gist"):
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest) -> str | None:
    """URL of an empty registry; `None` for SQLite inside the repository."""
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("postgres")
    return server.create_database(f"registry{next(_numbers)}", ["btree_gist"])


@pytest.fixture
def repo(tmp_path: Path, registry_url: str | None) -> str:
    """An empty repository."""
    path = str(tmp_path / "repo")
    create_repository(path, registry_url=registry_url)
    return path


@pytest.fixture
def registrar(repo: str, tmp_path: Path) -> Iterator[Registrar]:
    """A registrar that takes files from anywhere under the test's directory."""
    with open_repository(repo, writeable=True) as butler:
        yield _registrar(butler, tmp_path)


@pytest.fixture
def empty_files(tmp_path: Path) -> Callable[[int], list[str]]:
    """Make files that are there and hold nothing: registering looks no further."""

    def make(number: int) -> list[str]:
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{n}.fits" for n in range(number)]
        for path in paths:
            path.touch()
        return [path.as_uri() for path in paths]

    return make


def _registrar(butler, root: Path, **options) -> Registrar:
    return Registrar(
        butler,
        instruments=InstrumentRegistry(),
        output_root=str(root),
        template_roots=[str(root)],
        **options,
    )


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[tuple[S3Server, str]]:
    """An S3 store and a bucket in it."""
    if reason := s3_missing():
        pytest.skip(reason)
    with running_s3("butler") as server:
        yield server, "butler"
