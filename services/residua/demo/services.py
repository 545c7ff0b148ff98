"""Run the real services as children of this process: for `residua demo` and `residua up`."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from residua.errors import ResiduaError

__all__ = ["ServiceDiedError", "ServiceProcesses"]

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 60.0


class ServiceDiedError(ResiduaError):
    """A service stopped by itself; its log says why."""

    responsible = "residua"


@dataclass(frozen=True)
class _Service:
    name: str
    process: BaseProcess
    log: Path


class ServiceProcesses:
    """Children that run services, their output in one log file each; ended on exit.

    Parameters
    ----------
    log_directory
        Where ``NAME.log`` files go.
    """

    def __init__(self, log_directory: Path) -> None:
        self._log_directory = log_directory
        self._services: list[_Service] = []

    def start(self, name: str, target: Callable[[Any], None], settings: object) -> None:
        """Start ``target(settings)`` in a fresh interpreter."""
        self._log_directory.mkdir(parents=True, exist_ok=True)
        log = self._log_directory / f"{name}.log"
        # Spawned, not forked: the broker's and numba's threads must not be copied.
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(target, settings, log, os.getpid()), name=name, daemon=False
        )
        process.start()
        self._services.append(_Service(name, process, log))

    def check(self) -> None:
        """Raise `ServiceDiedError` with the log's last line when a child has stopped."""
        for service in self._services:
            if not service.process.is_alive():
                lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()
                last = lines[-1].strip() if lines else "no output"
                raise ServiceDiedError(
                    f"the {service.name} stopped (exit code {service.process.exitcode}): {last}; "
                    f"see {service.log}",
                    exitcode=float(service.process.exitcode or 0),
                )

    def stop(self) -> None:
        """End all children: SIGTERM, and SIGKILL when one does not end in a minute."""
        for service in self._services:
            if service.process.is_alive():
                service.process.terminate()
        for service in self._services:
            service.process.join(_STOP_SECONDS)
            if service.process.is_alive():
                service.process.kill()
                service.process.join()
        self._services.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _run(target: Callable[[Any], None], settings: object, log: Path, parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)
    # Ctrl-C in the terminal is the parent's to handle; it sends SIGTERM to us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    target(settings)
