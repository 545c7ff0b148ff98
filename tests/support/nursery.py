"""Starts services by fork, from a process that has imported their modules already.

A service's imports cost three seconds of a core, most of what a test of delivery costs. What is
forked runs ``python -m MODULE`` to its end: an interpreter, session, environment, output and exit
code of its own; only the imports are done. One nursery serves a test session; it ends with it.

    python -m tests.support.nursery SOCKET

answers requests, one JSON object a line: ``{"start": ...}`` with a process id, ``{"code": ID}``
with the exit code, or null while the process runs.
"""

import atexit
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Nursery"]

_REPOSITORY = Path(__file__).parents[2]


class Nursery:
    """The requests of a test session; the process behind it starts with the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: TextIO | None = None

    def start(self, module: str, environment: dict[str, str], log: Path) -> int:
        """Start ``python -m module``; returns its process id."""
        return int(
            self._ask({"start": module, "environment": environment, "log": str(log.absolute())})
        )

    def code(self, pid: int) -> int | None:
        """Exit code, minus the number of the signal that ended it; `None` while it runs.

        An exit code is told once: after that the id may be another process's.
        """
        answer = self._ask({"code": pid})
        return None if answer is None else int(answer)

    def _ask(self, question: dict[str, object]) -> Any:
        with self._lock:
            if self._lines is None:
                self._lines = self._begin()
            self._lines.write(json.dumps(question) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        if not answer:
            raise RuntimeError("the nursery of the tests' services has ended")
        return json.loads(answer)

    def _begin(self) -> TextIO:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())],
                cwd=_REPOSITORY,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

        def end() -> None:
            ours.close()
            process.wait()

        lines = ours.makefile("rw", encoding="utf-8")
        atexit.register(end)
        atexit.register(lines.close)
        return lines


def _serve(lines: TextIO) -> dict[str, Any] | None:
    """Answer until the session ends; returns in each forked process what it shall run."""
    for line in lines:
        question = json.loads(line)
        if "start" not in question:
            done, status = os.waitpid(question["code"], os.WNOHANG)
            answer = None if done == 0 else os.waitstatus_to_exitcode(status)
        else:
            _import(question["start"])
            answer = os.fork()
            if answer == 0:
                return dict(question)
        lines.write(json.dumps(answer) + "\n")
        lines.flush()
    return None


def _import(module: str) -> None:
    try:
        importlib.import_module(f"{module}.main")
    except ModuleNotFoundError:
        importlib.import_module(module)
        # It is run, not imported: that a module of its name is there would be warned of.
        del sys.modules[module]


def _become(wanted: dict[str, Any]) -> None:
    """Make this process the one that was asked for, but for its imports."""
    os.setsid()
    log = os.open(wanted["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv = [wanted["start"]]


def main() -> None:
    """Serve, and in forked processes run the service."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    with connection, connection.makefile("rw", encoding="utf-8") as lines:
        wanted = _serve(lines)
    if wanted is not None:
        _become(wanted)
        runpy.run_module(wanted["start"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
