"""What each way to install Residua brings: packages and megabytes, each in an empty environment.

    python -m tests.benchmarks.doors [DOOR ...]

The table of docs/how-to/install.md. Megabytes are 10^6 bytes of files as installed, without
compiled `.pyc`; needs a package index, and `uv` or `pip`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PINS = ["-c", str(REPOSITORY / "constraints.txt")]
CORE = ["numpy", "numba", "scipy", "astropy", "threadpoolctl"]
EXTRAS = ("s3", "postgres", "tokens", "avro", "tracing", "docs", "test")
DOORS = {
    "schemas": [[str(REPOSITORY / "schemas")]],
    "core": [["--no-deps", str(REPOSITORY)], [*PINS, *CORE]],
    "service": [[*PINS, str(REPOSITORY)]],
    **{extra: [[*PINS, f"{REPOSITORY}[{extra}]"]] for extra in EXTRAS},
}


def measure(steps: list[list[str]], directory: Path) -> tuple[int, float]:
    """Install into an empty environment; return the packages and megabytes that are there then."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    python = str(directory / "bin" / "python")
    for step in steps:
        if shutil.which("uv"):
            command = ["uv", "pip", "install", "-q", "--python", python, *step]
        else:
            command = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
            command += ["--no-compile", *step]
        subprocess.run(command, check=True)
    [packages] = (directory / "lib").glob("python*/site-packages")
    files = [p for p in packages.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    return len(list(packages.glob("*.dist-info"))), sum(p.stat().st_size for p in files) / 1e6


def main() -> None:
    """Measure the doors, all if none is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("doors", nargs="*", choices=[*DOORS, []], default=[])
    service = (0, 0.0)
    print("| door | packages | MB | more than the service |\n| --- | --- | --- | --- |")
    for door in parser.parse_args().doors or DOORS:
        with tempfile.TemporaryDirectory() as name:
            packages, size = measure(DOORS[door], Path(name))
        service = (packages, size) if door == "service" else service
        more = f"{packages - service[0]}, {size - service[1]:.0f} MB" if door in EXTRAS else ""
        print(f"| {door} | {packages} | {size:.0f} | {more} |", flush=True)


if __name__ == "__main__":
    main()
