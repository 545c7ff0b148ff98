"""`residua warm-up`: compile the pixel passes before the first image comes."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from residua.cli.console import OUT, STDERR, one_line_errors

__all__ = ["warm_up"]

_SHAPE = (480, 500)


def warm_up() -> None:
    """Fill the compile cache: run once after installing, or while building an image.

    Subtracts two small simulated pairs (one in which the template is convolved, one in which
    the science image is) and writes and reads a file, so that every compiled function is in the
    cache. Where the cache is: `NUMBA_CACHE_DIR`, or beside the installed package.
    """
    from residua.instruments import InstrumentRegistry
    from residua.ports import Observation
    from residua.simulation.input_files import write_visit_image
    from residua.simulation.sky import scene, simulate_pair
    from residua.storage.read.readers import read_image
    from residua.subtraction.config import NO_LIMITS, SubtractionConfig
    from residua.subtraction.solve import solve_and_apply
    from residua.subtraction.steps.apply import apply

    start = time.monotonic()
    unlimited = SubtractionConfig(limits=NO_LIMITS)
    observation = Observation("Simulated", 1, 0, 20261122, "r", "r_sim", "Simulated")
    with one_line_errors(), STDERR.status("compiling"), tempfile.TemporaryDirectory() as directory:
        for name in ("deep", "worse-template"):
            pair = simulate_pair(replace(scene(name), shape=_SHAPE), seed=1)
            solution, _ = solve_and_apply(pair.science, pair.templates, unlimited)
            apply(solution, pair.science, pair.templates)
            # Without PSF models: the functions that measure one.
            bare = replace(pair.science, psf=None)
            solve_and_apply(bare, [replace(t, psf=None) for t in pair.templates], unlimited)
            for lossless in (True, False):
                path = Path(directory) / f"{name}-{'lossless' if lossless else 'lossy'}.fits"
                write_visit_image(path, pair.science, observation, lossless=lossless)
                read_image(path.read_bytes(), str(path), InstrumentRegistry())
    OUT.print(f"compiled in {time.monotonic() - start:.1f} s", markup=False)
