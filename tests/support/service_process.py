"""A service of ours in a process of its own, as an operator would run it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.nursery import Nursery

__all__ = ["ServiceProcess"]

_REPOSITORY = Path(__file__).parents[2]
_nursery = Nursery()


class ServiceProcess:
    """A service in a process of its own; its imports were done before (`tests.support.nursery`).

    Parameters
    ----------
    name
        Name of its log file.
    module
        What ``python -m`` would run.
    fresh
        Whether an interpreter of its own does the imports too, as in operation.
    """

    def __init__(
        self,
        name: str,
        module: str,
        environment: dict[str, str],
        directory: Path,
        *,
        fresh: bool = False,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        # There at once, for whoever looks before the process has begun.
        self.log.touch()
        # Some run modules of the tests, which no wheel brings: their children import them.
        path = os.pathsep.join(filter(None, [str(_REPOSITORY), environment.get("PYTHONPATH")]))
        environment = {**environment, "PYTHONPATH": path}
        self._code: int | None = None
        self._fresh = _interpreter(module, environment, self.log) if fresh else None
        if self._fresh is None:
            self.pid = _nursery.start(module, environment, self.log)
        else:
            self.pid = self._fresh.pid

    @property
    def exit_code(self) -> int | None:
        """`None` while it runs."""
        if self._fresh is not None:
            return self._fresh.poll()
        if self._code is None:
            self._code = _nursery.code(self.pid)
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        # Until its code is told the id is its own, even when it has ended.
        if self.exit_code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.send_signal(signal.SIGKILL)
        self.wait(60.0)

    def wait(self, seconds: float) -> int:
        """Wait for its end; returns the exit code.

        Raises
        ------
        subprocess.TimeoutExpired
            It has not ended.
        """
        deadline = time.monotonic() + seconds
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.name, seconds)
            time.sleep(0.02)
        return code

    def stop(self, seconds: float = 240.0) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _interpreter(module: str, environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
