"""As the image runs: another user, no home, a read-only root; without a container.

In a mount namespace of its own, as root; skipped where that is not allowed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# The interpreter may lie in root's own home, its environment and the sources in a directory of
# `mktemp -d`: where others may not enter. They are seen at a place that everybody may enter.
CONFINE = """
set -e
place="$1"; shift
keep="$place/keep"
mount --bind "$ENVIRONMENT" "$place/environment"
mount --bind "$REPOSITORY" "$place/repository"
for name in environment repository; do mount -o bind,remount,ro "$place/$name"; done
mount --bind /root "$keep"
mount -t tmpfs -o mode=755 none /root
for name in .pyenv .local; do
  if [ -d "$keep/$name" ]; then mkdir "/root/$name"; mount --bind "$keep/$name" "/root/$name"; fi
done
mount -o bind,remount,ro /
mount -t tmpfs -o mode=1777 none /var/tmp
cd /
exec setpriv --reuid 12345 --regid 12345 --clear-groups env -i PATH=/usr/bin:/bin \\
  TMPDIR=/var/tmp PYTHONPATH="$PYTHONPATH" NUMBA_CACHE_DIR="$place/cache" GIVEN="$place/cache" "$@"
"""
KERNEL = """
import residua
import numba

@numba.njit("float64(float64)", cache=True)
def square(x):
    return x * x

@numba.njit("float64(float64)", cache=True)
def {name}(x):
    return x + x
"""
SCRIPT = """
import json, os
from pathlib import Path
import kernels, {modules}

def is_read_only(path):
    try:
        (Path(path) / "written").touch()
    except OSError:
        return True
    return False

print(json.dumps({{
    "user": os.getuid(),
    "read_only": all(map(is_read_only, ("/", "{repository}", os.environ["GIVEN"]))),
    "home": Path.home().is_dir(),
    "found": sum(kernels.square.stats.cache_hits.values()),
    "compiled": sum(kernels.{name}.stats.cache_misses.values()),
    "answer": kernels.square(2.0) + kernels.{name}(3.0),
}}))
"""
MODULES = ("worker", "catalog", "access")


def missing() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, for a mount namespace"
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return "needs unshare and setpriv (util-linux)"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "may not unshare mounts"


pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="residua-confined-") as name:
        Path(name).chmod(0o755)
        for folder in ("keep", "cache", "environment", "repository"):
            (Path(name) / folder).mkdir()
        yield Path(name)


def confined(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python as the image would."""
    command = (place / "environment/bin/python", *arguments)
    environment = {
        "PATH": os.environ["PATH"],
        "ENVIRONMENT": sys.prefix,
        "REPOSITORY": str(REPOSITORY),
        "PYTHONPATH": f"{place}:{place}/repository/services:{place}/repository/schemas",
    }
    return subprocess.run(
        ["unshare", "-m", "bash", "-c", CONFINE, "-", place, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def test_the_image_needs_no_user_no_home_and_no_writable_root(place: Path):
    def script(name: str) -> str:
        modules = ", ".join(f"residua.{m}.main" for m in MODULES)
        return SCRIPT.format(modules=modules, repository=place / "repository", name=name)

    kernels = place / "kernels.py"
    kernels.write_text(KERNEL.format(name="twice"))
    filled = {**os.environ, "PYTHONPATH": str(place), "NUMBA_CACHE_DIR": str(place / "cache")}
    subprocess.run([sys.executable, "-c", "import kernels"], env=filled, check=True)
    # As on a processor that the image was not made on: one of two is to be compiled.
    for cached in (place / "cache").rglob("kernels.twice*"):
        cached.unlink()
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)
    done = confined(place, "-c", script("twice"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "user": 12345,
        "read_only": True,
        "home": True,
        "found": 1,
        "compiled": 1,
        "answer": 10.0,
    }


@pytest.mark.slow
def test_the_demo_runs_so(place: Path):
    # Compiles in its own directory: the repository's caches lie beside the sources.
    command = "from residua.cli.main import main; main()"
    done = confined(
        place, "-c", command, "demo", "-o", "/var/tmp/demo", "--json", "-",
        "--detector-size", "700x640", "--visit-count", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["summary"]
