"""The files of images made again as other processors would make them: FITS, picture, all of it.

Every image of the demo, and one of a whole detector. Libraries choose their code by the processor;
each case makes them choose that of another one, in a process of its own, from reading the inputs
to writing the files, with another number of threads, and nothing compiled before. That takes
minutes each; the golden pair (`test_golden`) shows what real other machines make.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select
from tests.support.demo_run import run_demo
from tests.support.night import worked_night

from residua.obscore import obscore
from residua.storage.objects import local_path
from residua_schemas import DifferenceImageCreated

FULL = (4000, 4072)
PROCESSORS = {
    "this one": {},
    "haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "NUMBA_CPU_NAME": "haswell",
    },
    "skylake-avx512": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL AVX512_SPR",
        "NUMBA_CPU_NAME": "skylake-avx512",
    },
    "x86-64-v3": {
        "OPENBLAS_CORETYPE": "Zen",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "NUMBA_CPU_NAME": "x86-64-v3",
    },
    "x86-64-v2": {
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
        "NUMBA_CPU_NAME": "x86-64-v2",
    },
}

FEW = {"x86-64-v2": 2}
"""It has no fused multiply-add: each is done in software, and a whole detector takes an hour."""

THREADS = {"this one": 3, "haswell": 1, "skylake-avx512": 2, "x86-64-v3": 3, "x86-64-v2": 2}

SCRIPT = """
import hashlib, json, sys
from pathlib import Path
from residua.recreation import RecreationSettings, Recreator
from residua_schemas import outcome_from_json

recreator = Recreator(RecreationSettings(threads=int(sys.argv[2])), Path(sys.argv[1]), preview=True)
for line in sys.stdin:
    made = recreator.as_made(outcome_from_json(line))
    files = [made.path, made.preview, made.detections]
    found = [path.read_bytes() for path in files] + [made.hollow, made.solution]
    for path in files:
        path.unlink()
    print(json.dumps([hashlib.sha256(content).hexdigest() for content in found]), flush=True)
"""


@pytest.fixture(scope="module")
def created(tmp_path_factory):
    """Outcomes of the demo as it runs by itself, and of a whole detector."""
    summary = run_demo(tmp_path_factory.mktemp("demo") / "run", seconds=1800.0)
    engine = create_engine(f"sqlite:///{summary['catalog']}")
    with engine.connect() as connection:
        rows = select(obscore.c.event).where(obscore.c.dataset_type == "difference_image")
        events = connection.scalars(rows.order_by(obscore.c.dataset_id)).all()
    engine.dispose()
    images = [DifferenceImageCreated.model_validate(event) for event in events]
    assert len(images) == sum(i["outcome"] == "created" for i in summary["images"]) == 6
    night = worked_night(tmp_path_factory.mktemp("full"), shape=FULL, detectors=1)
    [full] = night.created
    assert full.shape == FULL
    return [*images, full]


@pytest.fixture(scope="module")
def expected(created):
    """Digests of all files of each, as they were first written."""
    found = []
    for image in created:
        files = [image.uri, image.preview_uri, image.detections.uri]
        files += [image.uri.replace(".fits", ".hollow"), image.solution.uri]
        found.append([hashlib.sha256(local_path(uri).read_bytes()).hexdigest() for uri in files])
        assert f"sha256:{found[-1][0]}" == image.checksum
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_all_files_are_equal_to_the_byte(created, expected, tmp_path, processor):
    cannot_run = processor == "skylake-avx512" and "avx512f" not in _flags()
    if cannot_run:
        pytest.skip("this machine has no AVX-512")
    environment = {
        **os.environ,
        **PROCESSORS[processor],
        # Cold: all is compiled anew, for that processor.
        "NUMBA_CACHE_DIR": str(tmp_path / "compiled"),
    }
    if "NUMBA_CPU_NAME" in environment:
        # Else numba takes the features of this machine beside the other's name.
        environment["NUMBA_CPU_FEATURES"] = ""
    some = slice(FEW.get(processor))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "made"), str(THREADS[processor])],
        input="\n".join(image.model_dump_json() for image in created[some]),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected[some]
    assert any((tmp_path / "compiled").rglob("*.nbi")), "nothing was compiled for it"


def _flags():
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            return next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return ""
