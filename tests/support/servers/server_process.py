"""Servers that tests start: free ports, and an end even when the tests are killed."""

import random
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ServerProcess", "answers_on", "free_ports", "removed_when_we_die", "wait_until"]


_WATCHER_SECONDS = 30.0


def free_ports(number: int) -> list[int]:
    """Ports on 127.0.0.1 that are free now.

    Below the range the kernel hands to clients, so that a server that is down for a while
    finds its port still free.
    """
    found: list[int] = []
    with_sockets: list[socket.socket] = []
    try:
        while len(found) < number:
            port = random.randrange(15_000, 32_000)
            s = socket.socket()
            with_sockets.append(s)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    finally:
        for s in with_sockets:
            s.close()
    return found


def wait_until(
    condition: Callable[[], bool], what: str, *, seconds: float, pause: float = 0.05
) -> None:
    """Ask ``condition`` until it is true.

    Raises
    ------
    TimeoutError
        It was not true within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


@contextmanager
def removed_when_we_die(directory: Path) -> Iterator[None]:
    """Watch over servers started under ``directory`` (each leaves ``NAME.pid`` there).

    A shell waits for our end, also by SIGKILL, and then kills them and removes the directory.
    """
    place = shlex.quote(str(directory))
    script = (
        f"read _; for f in {place}/*.pid; do p=$(cat $f 2>/dev/null) || continue; "
        f"grep -qs -- {place} /proc/$p/cmdline && kill -9 $p; done; rm -rf {place}"
    )
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        if watcher.stdin is not None:
            watcher.stdin.close()
        try:
            watcher.wait(_WATCHER_SECONDS)
        except subprocess.TimeoutExpired:
            # A process that was forked from this one holds the pipe's other end.
            watcher.kill()
            watcher.wait()


class ServerProcess:
    """One server that can be killed, stopped and started again.

    Parameters
    ----------
    name
        For messages, the log file ``NAME.log`` and ``NAME.pid``.
    command
        Program and arguments; must name ``directory`` (see `removed_when_we_die`).
    directory
        Where log and pid go, and the working directory.
    environment
        The whole environment, or `None` for ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._command = list(command)
        self._directory = directory
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Start it and wait until ``ready()``.

        Raises
        ------
        RuntimeError
            It ended instead; the message holds the last lines of its log.
        TimeoutError
            It was not ready in time.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._environment,
                # Ctrl-C in the terminal is the tests' to handle.
                start_new_session=True,
            )
        (self._directory / f"{self.name}.pid").write_text(str(self._process.pid))

        def ready_or_dead() -> bool:
            if not self.alive:
                lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
                raise RuntimeError(f"{self.name} ended at its start: {' | '.join(lines[-5:])}")
            return ready()

        wait_until(ready_or_dead, f"{self.name} answers", seconds=seconds)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self, *, seconds: float = 30.0) -> None:
        """SIGTERM, then SIGKILL when it does not end in time."""
        self._end(signal.SIGTERM, seconds)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals, seconds: float = 30.0) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        (self._directory / f"{self.name}.pid").unlink(missing_ok=True)


def answers_on(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with socket.socket() as s:
        s.settimeout(1.0)
        return s.connect_ex(("127.0.0.1", port)) == 0
