"""What reading and writing cost beside the subtraction: ``python -m tests.benchmarks.reading``.

Makes two full-size files of a simulated scene in each form, runs ``residua subtract`` on them in
processes of their own, and prints CPU seconds: of the whole, imports included; of the subtraction
alone; their difference; and the largest memory. Then what a header-only command takes for many
files. Nothing is asserted.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.simulation.sky.pair import simulate_pair
from residua.simulation.sky.scene import scene

_OBSERVATION = Observation(
    instrument="LSSTComCam",
    visit=2024112200123,
    detector=4,
    day_obs=20241122,
    band="r",
    physical_filter="r_03",
    facility_name="Rubin:Simonyi",
    begin_tai=datetime.fromisoformat("2024-11-23T05:00:00"),
    end_tai=datetime.fromisoformat("2024-11-23T05:00:30"),
    exposure_time=30.0,
)

_PROGRAM = """
import sys, time
import residua.processing.making as making
own = making.subtract
def timed(*arguments, **others):
    started = time.process_time()
    try:
        return own(*arguments, **others)
    finally:
        print("subtraction", time.process_time() - started, file=sys.stderr)
making.subtract = timed
from residua.cli.main import app
app(sys.argv[1:])
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=2, default=(4000, 4072), metavar=("NY", "NX"))
    parser.add_argument("--files", type=int, default=200, help="files of the header-only command")
    parser.add_argument("--forms", nargs="+", default=["plain", "plain-bare", "rice", "gzip"])
    parser.add_argument("--warm", type=int, default=1, help="runs before the one that counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pair = simulate_pair(scene("deep", tuple(options.shape)), 7)
        print(f"residua subtract, two files of {options.shape[0]} x {options.shape[1]} pixels")
        print(f"{'form':12s}{'MB':>8s}{'whole':>9s}{'subtract':>9s}{'beside':>9s}{'peak MB':>9s}")
        for form in options.forms:
            files = _write(Path(folder) / form, form, pair)
            for _ in range(options.warm + 1):
                whole, own, peak = _subtract(files, Path(folder) / "out.fits")
            size = sum(f.stat().st_size for f in files) / 1e6
            beside = whole - own
            print(
                f"{form:12s}{size:8.0f}{whole:9.2f}{own:9.2f}{beside:9.2f}{peak:9.0f}", flush=True
            )
        _headers(Path(folder), options.files)


def _write(folder: Path, form: str, pair: object) -> list[Path]:
    folder.mkdir()
    visit, template = folder / "visit.fits", folder / "template.fits"
    science, patch = pair.science, pair.templates[0]  # type: ignore[attr-defined]
    if form.startswith("plain"):
        # Bare: no plane beside the image; sky and noise are worked out from the pixels.
        cards = {"GAIN": 1e-3, "RDNOISE": 0.0, "FILTER": "r"} if form == "plain-bare" else None
        for path, image in ((visit, science), (template, patch)):
            observation = _OBSERVATION if path is visit else None
            write_plain_fits(path, image, observation, variance=cards is None, cards=cards)
    else:
        write_visit_image(visit, science, _OBSERVATION, lossless=form == "gzip")
        write_template(
            template, patch, skymap="s", tract=1, patch=1, band="r", lossless=form == "gzip"
        )
    return [visit, template]


def _subtract(files: list[Path], output: Path) -> tuple[float, float, float]:
    output.unlink(missing_ok=True)
    arguments = ["subtract", *map(str, files), "-o", str(output), "--no-limits", "--threads", "1"]
    command = [sys.executable, "-c", _PROGRAM, *arguments, "--band", "r"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    probe = [sys.executable, "-c", _PEAK, *command]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    own = next(float(x.split()[1]) for x in done.stderr.splitlines() if x.startswith("subtraction"))
    peak = json.loads(done.stdout.splitlines()[-1])["peak"]
    return whole, own, peak / 1024.0


_PEAK = """
import json, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}))
sys.exit(code)
"""


def _headers(folder: Path, count: int) -> None:
    pair = simulate_pair(scene("deep", (600, 600)), 3)
    for form in ("plain", "rice"):
        visit = _write(folder / f"small-{form}", form, pair)[0]
        files = [visit.with_name(f"visit{n}.fits") for n in range(count)]
        for path in files:
            shutil.copy(visit, path)
        started = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        program = (
            "import sys\n"
            # As `residua send` does.
            "from residua.cli.startup import without_butler\n"
            "from residua.storage.describe import describe_visit_image\n"
            "with without_butler():\n"
            "    for f in sys.argv[1:]: describe_visit_image(f)"
        )
        subprocess.run([sys.executable, "-c", program, *map(str, files)], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        wall = time.perf_counter() - started
        print(f"describe {count} {form} files: {used:.2f} CPU s, {wall:.2f} s")


if __name__ == "__main__":
    main()
