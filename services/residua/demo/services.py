"""Run the real services as children of this process: for `residua demo` and `residua up`."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from residua.errors import ResiduaError
from residua.worker.watchdog import EXIT_CODE

__all__ = ["ServiceDiedError", "ServiceProcesses"]

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 60.0
_SHORT_SECONDS, _LONG_SECONDS = 60.0, 600.0
_MOST_RESTARTS = 5


class ServiceDiedError(ResiduaError):
    """A service stopped by itself; its log says why."""

    responsible = "residua"


@dataclass
class _Service:
    name: str
    target: Callable[[Any], None]
    settings: object
    log: Path
    process: BaseProcess
    started: float
    restarts: int = 0


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
        process = _process(name, target, settings, log)
        self._services.append(_Service(name, target, settings, log, process, time.monotonic()))

    def check(self) -> Sequence[str]:
        """Look after the children: one that asks for a new start gets it.

        That is one that exits with `EXIT_CODE`, as the worker's watchdog does, or that had run
        for a minute: services end when a component stays away, and a new start takes up where
        the last one stopped.

        Returns
        -------
        restarted
            One line for each that was started again.

        Raises
        ------
        ServiceDiedError
            One stopped and is not started again, or was too often. With its log's last line.
        """
        told = []
        for service in self._services:
            if service.process.is_alive():
                continue
            lines = service.log.read_text(encoding="utf-8", errors="replace").splitlines()
            last = lines[-1].strip() if lines else "no output"
            code = service.process.exitcode
            stopped = f"the {service.name} stopped (exit code {code}): {last}; see {service.log}"
            lived = time.monotonic() - service.started
            if lived > _LONG_SECONDS:
                service.restarts = 0
            asks = code == EXIT_CODE or lived > _SHORT_SECONDS
            if not asks or service.restarts >= _MOST_RESTARTS:
                raise ServiceDiedError(stopped, exitcode=float(code or 0))
            service.restarts += 1
            service.started = time.monotonic()
            service.process = _process(service.name, service.target, service.settings, service.log)
            told.append(f"{stopped}; started again")
        return told

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


def _process(name: str, target: Callable[[Any], None], settings: object, log: Path) -> BaseProcess:
    # Spawned, not forked: the broker's and numba's threads must not be copied.
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(target, settings, log, os.getpid()), name=name, daemon=False
    )
    process.start()
    return process


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
