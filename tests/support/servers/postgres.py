"""A real PostgreSQL for tests: `initdb` in a temporary directory, gone when done.

Debian's packages ``postgresql-15=15.18-0+deb12u1``, ``postgresql-client-15=15.18-0+deb12u1`` and
``postgresql-15-pgsphere`` are what is tested (15.20 refuses the extension).
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.server_process import free_ports, removed_when_we_die

__all__ = ["PostgresServer", "kept_postgres", "postgres_missing", "running_postgres"]

_DEBIAN = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"


@dataclass(frozen=True)
class PostgresServer:
    """A running server that trusts every local connection.

    Parameters
    ----------
    port
        TCP port on 127.0.0.1.
    socket_directory
        Where its Unix socket is, and beside it its data.
    options
        Of the server.
    """

    port: int
    socket_directory: Path
    options: str = ""

    def kill(self) -> None:
        """End it at once, as a machine does that goes down."""
        self._stop("immediate")

    def stop(self) -> None:
        """End it with all its data on the disk."""
        self._stop("fast")

    def _stop(self, how: str) -> None:
        _run_as_owner([_program("pg_ctl"), "-D", self._data, "-m", how, "-w", "-t", "600", "stop"])

    def start(self) -> None:
        """Start it, also again, on its port and data."""
        log = self.socket_directory / "log"
        command: list[str | Path] = [_program("pg_ctl"), "-D", self._data, "-l", log]
        _run_as_owner([*command, "-w", "-t", "60", "-o", self.options, "start"])
        pid, _rest = (self._data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)
        (self.socket_directory / "postgres.pid").write_text(pid)

    @property
    def _data(self) -> Path:
        return self.socket_directory / "data"

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of a database, psycopg driver."""
        return f"postgresql+psycopg://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, extensions: Sequence[str] = ()) -> str:
        """Create an empty database with extensions (such as ``pg_sphere``); return its URL.

        An existing database of this name is dropped first.
        """
        self._psql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._psql("postgres", f'CREATE DATABASE "{name}"')
        for extension in extensions:
            self._psql(name, f'CREATE EXTENSION "{extension}"')
        return self.url(name)

    def _psql(self, database: str, statement: str) -> None:
        _run(
            [
                _program("psql"),
                *("-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)),
                *("-U", _SUPERUSER, "-d", database, "-c", statement),
            ]
        )


def postgres_missing(extension: str | None = None) -> str | None:
    """Why no server can be started here, or `None` when one can.

    Parameters
    ----------
    extension
        An extension that is needed too, such as ``pg_sphere``.
    """
    directory = _programs()
    if directory is None:
        return "no PostgreSQL server programs (initdb, pg_ctl) on this machine"
    if os.geteuid() == 0 and not _has_user(_SUPERUSER):
        return f"running as root, and there is no user {_SUPERUSER} to run the server as"
    if extension is not None and not _has_extension(directory, extension):
        return f"PostgreSQL under {directory} has no extension {extension}"
    return None


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a server in a new temporary directory; stop it and remove the directory after.

    Parameters
    ----------
    durable
        Whether a commit waits for the disk, as in production.
    """
    with (
        tempfile.TemporaryDirectory(prefix="residua-postgres-", ignore_cleanup_errors=True) as name,
        removed_when_we_die(Path(name)),
    ):
        directory = Path(name)
        if os.geteuid() == 0:
            shutil.chown(directory, _SUPERUSER, _SUPERUSER)
        data = directory / "data"
        [port] = free_ports(1)
        _initialise(data)
        options = f"-p {port} -k {directory} -c listen_addresses=127.0.0.1 -c max_connections=200"
        if not durable:
            # Nothing here outlives the test: durability only costs time.
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        server = PostgresServer(port, directory, options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def kept_postgres(directory: Path, database: str, extensions: Sequence[str]) -> Iterator[str]:
    """Start a server on a directory that stays, with a database; yield its URL, stop it after.

    Both are made when they are not there yet. Commits wait for the disk.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(directory, _SUPERUSER, _SUPERUSER)
    data, made = directory / "data", directory / f"{database}.made"
    if not data.exists():
        _initialise(data)
    [port] = free_ports(1)
    options = f"-p {port} -k {directory} -c listen_addresses=127.0.0.1 -c max_wal_size=8GB"
    server = PostgresServer(port, directory, options)
    server.start()
    try:
        if not made.exists():
            server.create_database(database, extensions)
            made.touch()
        yield server.url(database)
    finally:
        server.stop()


def _initialise(data: Path) -> None:
    _run_as_owner(
        [_program("initdb"), "-D", data, "-U", _SUPERUSER, "-A", "trust", "-N", "-E", "UTF8"]
    )


def _programs() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return versions[-1].parent if versions else None


def _program(name: str) -> Path:
    directory = _programs()
    if directory is None:
        raise FileNotFoundError(postgres_missing())
    return directory / name


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def _has_extension(programs: Path, extension: str) -> bool:
    shared = _run([programs / "pg_config", "--sharedir"]).strip()
    return (Path(shared) / "extension" / f"{extension}.control").exists()


def _run_as_owner(command: Sequence[str | Path]) -> None:
    # The server refuses to run as root.
    prefix = ["runuser", "-u", _SUPERUSER, "--"] if os.geteuid() == 0 else []
    _run([*prefix, *command])


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}")
    return done.stdout
