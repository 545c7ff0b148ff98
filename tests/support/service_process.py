"""A service of ours in a process of its own, as an operator would run it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["ServiceProcess"]

_REPOSITORY = Path(__file__).parents[2]


class ServiceProcess:
    """A service in a process of its own.

    Parameters
    ----------
    name
        Name of its log file.
    command
        Arguments of the Python interpreter.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], directory: Path
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        # Some run modules of the tests, which no wheel brings.
        path = os.pathsep.join(filter(None, [str(_REPOSITORY), environment.get("PYTHONPATH")]))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                env={**environment, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """`None` while it runs."""
        return self._process.poll()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.wait()

    def wait(self, seconds: float) -> int:
        """Wait for its end; returns the exit code."""
        return self._process.wait(seconds)

    def stop(self, seconds: float = 240.0) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self._process.terminate()
        return self._process.wait(seconds)

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")
