"""The same bytes from one kept solution, as other processors would make them.

Libraries choose their code by the processor. Each case makes them choose that of another one, in
a process of its own; the last also compiles the pixel passes for a processor without fused
multiply-adds (two minutes the first time)..
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from residua.simulation.sky import scene, simulate_pair
from residua.storage.forms.solution_file import write_solution
from residua.subtraction import SubtractionConfig
from residua.subtraction.masks import MaskBit
from residua.subtraction.solve import solve_and_apply

SHAPE = (460, 500)
PLANES = ("image", "variance", "mask", "matched_template")
PROCESSORS = {
    "Prescott's BLAS": {"OPENBLAS_CORETYPE": "Prescott"},
    "Nehalem's BLAS": {"OPENBLAS_CORETYPE": "Nehalem"},
    "Haswell's BLAS": {"OPENBLAS_CORETYPE": "Haswell"},
    "numpy without AVX2": {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    },
    "no fused operations": {
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "NUMBA_CPU_NAME": "x86-64-v2",
        "NUMBA_CPU_FEATURES": "",
    },
}


@pytest.fixture(scope="module", params=["template", "science"])
def first(request, tmp_path_factory):
    """A solution, its inputs as files, and the planes of its run."""
    made = simulate_pair(scene("crossed", SHAPE, stars=12000.0, transients=1500.0), 9301)
    image, mask = made.science.image.copy(), made.science.mask.copy()
    image[100:104, 80:200] = 1e6
    mask[100:104, 80:200] |= int(MaskBit.BAD)
    image[300:302, 300] += 4000.0
    science = dataclasses.replace(made.science, image=image, mask=mask)
    config = SubtractionConfig(convolve=request.param)
    solution, difference = solve_and_apply(science, made.templates, config)
    folder = tmp_path_factory.mktemp("kept")
    (folder / "kept").write_bytes(write_solution(solution))
    images = [science, *made.templates]
    np.savez(
        folder / "inputs.npz",
        **{f"{k}.{n}": getattr(i, n) for k, i in enumerate(images) for n in PLANES[:3]},
    )
    return folder, {n: getattr(difference, n).tobytes() for n in PLANES}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Compiled code of other processors has its own place, compiled once."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_planes_are_equal_to_the_byte(first, cache, processor):
    folder, expected = first
    environment = {**os.environ, **PROCESSORS[processor]}
    if "NUMBA_CPU_NAME" in environment:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    code = Path(__file__).parent / "apply_kept.py"
    out = folder / "made.npz"
    out.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, code, folder / "kept", folder / "inputs.npz", out],
        check=True, capture_output=True, timeout=900, env=environment,
    )  # fmt: skip
    with np.load(out) as planes:
        for name in PLANES:
            assert planes[name].tobytes() == expected[name], name
