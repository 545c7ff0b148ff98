"""Peers that are Python packages, each in an interpreter of its own: their pins are not ours."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.timing import run_program

HERE = Path(__file__).parent
_PROBE = (
    "import importlib.metadata as m, sys; __import__(sys.argv[1]); print(m.version(sys.argv[1]))"
)


@dataclass(frozen=True)
class Package:
    """An installed package: the interpreter that imports it, and its version."""

    python: str
    version: str


def find_package(name, python=None):
    """Find a package in the given or the running interpreter: a `Package`, or why not."""
    python = python or sys.executable
    try:
        probe = subprocess.run([python, "-c", _PROBE, name], capture_output=True, text=True)
    except OSError as error:
        return f"{python}: {error.strerror}"
    if probe.returncode:
        lines = probe.stderr.strip().splitlines() or ["no message"]
        return f"{python}: {lines[-1]}"
    return Package(python, probe.stdout.split()[-1])


@dataclass(frozen=True)
class Driver:
    """Match and subtract with a script of this folder: ``SCRIPT DIRECTORY t|i [OPTION ...]``."""

    python: str
    script: str
    options: tuple[str, ...] = ()

    def __call__(self, directory, convolve):
        return run_program(
            [self.python, str(HERE / self.script), str(directory), convolve, *self.options],
            directory / f"{Path(self.script).stem}.log",
        )
