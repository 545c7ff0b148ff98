"""The files of an image made again as other processors would make them: FITS, picture, all of it.

Libraries choose their code by the processor; each case makes them choose that of another one, in a
process of its own, from reading the inputs to writing the file. Compiled anew for each, which takes
minutes; the golden pair (`test_golden`) shows what real other machines make.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from residua.storage.objects import local_path

PROCESSORS = {
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

SCRIPT = """
import hashlib, json, sys
from pathlib import Path
from residua.recreation import RecreationSettings, Recreator
from residua_schemas import outcome_from_json

recreator = Recreator(RecreationSettings(), Path(sys.argv[1]), preview=True)
made = recreator.as_made(outcome_from_json(sys.stdin.read()))
found = [made.path.read_bytes(), made.preview.read_bytes(), made.detections.read_bytes()]
found += [made.hollow, made.solution]
print(json.dumps([hashlib.sha256(content).hexdigest() for content in found]))
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_all_files_are_equal_to_the_byte(night, compiled, tmp_path, processor):
    cannot_run = processor == "skylake-avx512" and "avx512f" not in _flags()
    if cannot_run:
        pytest.skip("this machine has no AVX-512")
    created = night.created[0]
    files = [created.uri, created.preview_uri, created.detections.uri]
    files += [created.uri.replace(".fits", ".hollow"), created.solution.uri]
    expected = [hashlib.sha256(local_path(uri).read_bytes()).hexdigest() for uri in files]
    environment = {
        **os.environ,
        **PROCESSORS[processor],
        # Else numba takes the features of this machine beside the other's name.
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(compiled / processor),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "made")],
        input=created.model_dump_json(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
    assert any((compiled / processor).rglob("*.nbi")), "nothing was compiled for it"


def _flags():
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            return next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return ""
