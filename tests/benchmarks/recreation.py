"""What parts of an image cost that was never stored, beside those of a stored one.

    python -m tests.benchmarks.recreation [--size NYxNX] [--repeats N]

One simulated detector, its inputs on an S3 store of this machine. First in this process, one
thread, CPU time: the whole image made again, and what of it is apply and writing; the solution and
the hollow file opened, a stamp with its tiles at hand, and with each tile fetched and decoded anew.
Then through SODA of an access service of its own: its CPU and the wait of one client, for the image
that is made and for the same one stored.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lsst.resources import ResourcePath
from tests.benchmarks.access import PIXEL, ask, show
from tests.benchmarks.catalog import served
from tests.benchmarks.subtraction import shape
from tests.support.night import Night, copied_night
from tests.support.servers.s3 import running_s3

from residua.access.cutouts.archives import archive_bytes
from residua.demo.inputs import simulated_inputs
from residua.recreation import RecreationSettings, Recreator, recreator
from residua.recreation.partial.parts import PartialImages
from residua.storage.regions.file_cache import FileCache
from residua.storage.store import ImageFileStore
from residua_schemas import DifferenceImageCreated

FULL = (4000, 4072)


@contextmanager
def nights(size: tuple[int, int], directory: Path) -> Iterator[tuple[Night, Night]]:
    """Yield one detector on S3 of which nothing is stored, and the same with its file."""
    with ExitStack() as stack:
        server = stack.enter_context(running_s3("recreation"))
        for name, value in server.environment.items():
            os.environ[name] = value
        inputs = simulated_inputs(
            directory,
            seed=11,
            detector_shape=size,
            visits=2,
            detectors=1,
            template_set="default",
            progress=lambda _line: None,
        )
        plain = Night(str(directory), inputs.arrivals[:1], inputs.templates, ())
        start = time.process_time()
        none = copied_night(plain, "s3://recreation/none", store="none")
        print(f"made and written in {time.process_time() - start:.1f} CPU s", flush=True)
        yield none, copied_night(plain, "s3://recreation/all")


def stamps(size: tuple[int, int], side: int, number: int) -> Iterator[tuple[slice, slice]]:
    """Boxes at random places."""
    rng = np.random.default_rng(3)
    for _ in range(number):
        y, x = (int(rng.integers(0, n - side)) for n in size)
        yield slice(y, y + side), slice(x, x + side)


def measure_here(created: DifferenceImageCreated, size: tuple[int, int], repeats: int) -> None:
    """Open, and make stamps, in this process."""
    took = []
    for _ in range(5):
        parts = PartialImages(RecreationSettings())
        start = time.process_time()
        parts.open(created)
        took.append(time.process_time() - start)
    print(f"opened (solution, hollow file, tables of inputs): {1e3 * np.median(took):.1f} ms")
    for side in (51, 256):
        for what, cached in (("tiles at hand", 1 << 31), ("with reading", 0)):
            parts = PartialImages(RecreationSettings(), FileCache(cached))
            file, took, fetched = parts.open(created), [], []
            for again in range(2):
                if again and not cached:
                    break
                took.clear()
                for box in stamps(size, side, repeats):
                    before, start = parts.counts.bytes_fetched, time.process_time()
                    b"".join(archive_bytes(file, "masked-image", box))
                    took.append(time.process_time() - start)
                    fetched.append(parts.counts.bytes_fetched - before)
            mean, p95 = 1e3 * np.mean(took), 1e3 * np.percentile(took, 95)
            print(
                f"{side} px, {what}: median {1e3 * np.median(took):.1f}, mean {mean:.1f}, p95 "
                f"{p95:.1f} ms CPU; {np.mean(fetched[-repeats:]) / 1e6:.2f} MB fetched",
                flush=True,
            )


def measure_whole(created: DifferenceImageCreated, folder: Path, times: int = 3) -> None:
    """Make the whole image as `residua recreate` does; what of it is apply and writing."""
    spent: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*values: Any, **more: Any) -> Any:
            start = time.process_time()
            try:
                return call(*values, **more)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - start

        return measured

    with ExitStack() as stack:
        for where, name in (
            (recreator, "apply"),
            (recreator, "read_visit_image"),
            (recreator, "read_template"),
            (recreator, "solve_and_apply"),
            (ImageFileStore, "write_difference_image"),
        ):
            real = getattr(where, name)
            setattr(where, name, timed(name, real))
            stack.callback(setattr, where, name, real)
        for n in range(times + 1):
            spent.clear()
            start = time.process_time()
            made = Recreator(RecreationSettings(), folder).as_made(created)
            total = time.process_time() - start
            made.path.unlink()
            # Once to compile.
            if n:
                both = spent["apply"] + spent["write_difference_image"]
                parts = ", ".join(f"{name} {took:.2f}" for name, took in sorted(spent.items()))
                print(
                    f"whole: {total:.2f} CPU s, {total / both:.2f} times apply and writing "
                    f"({parts})",
                    flush=True,
                )


def measure_service(night: Night, repeats: int) -> None:
    """Ask SODA for stamps."""
    [created] = night.created
    ra, dec = created.region.center

    def stamp(mode: str, side: int) -> Callable[[np.random.Generator, int], dict[str, str]]:
        def build(rng: np.random.Generator, _: int) -> dict[str, str]:
            half = side / 2.0 * PIXEL
            reach = 0.4 * min(created.shape) * PIXEL
            x, y = rng.uniform(-reach, reach, 2)
            a, d = ra + x / np.cos(np.radians(dec)), dec + y
            w = half / np.cos(np.radians(d))
            box = f"RANGE {a - w} {a + w} {d - half} {d + half}"
            return {"ID": created.obs_publisher_did, "POS": box, "CUTOUTMODE": mode}

        return build

    os.environ["RESIDUA_IMAGE_ROOTS"] = json.dumps([night.output_root])
    os.environ["RESIDUA_INPUT_ROOTS"] = json.dumps([f"{night.root}/visits"])
    os.environ["RESIDUA_TEMPLATE_ROOTS"] = json.dumps([f"{night.root}/templates"])
    # Exposures take a hundred times as long.
    few = max(3, repeats // 20)
    modes = [
        ("image", 256, repeats),
        ("image", 51, repeats),
        ("masked-image", 256, repeats),
        ("exposure", 256, few),
    ]
    with tempfile.TemporaryDirectory() as folder:
        url = night.fill(f"sqlite:///{folder}/catalog.sqlite")
        with served(url) as (base, process):
            show(
                (f"{mode}, {side} px", ask(base, process, stamp(mode, side), 1, number))
                for mode, side, number in modes
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=shape, default=FULL, metavar="NYxNX")
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        nights(options.size, Path(directory)) as (none, stored),
    ):
        [created] = none.created
        beside = [created.uri.replace(".fits", ".hollow"), created.solution.uri]
        sizes = [ResourcePath(uri).size() for uri in beside]
        print(f"hollow file {sizes[0] / 1e6:.3f} MB, solution {sizes[1] / 1e6:.3f} MB")
        measure_whole(created, Path(directory) / "whole")
        measure_here(created, created.shape, options.repeats)
        print("made on demand:")
        measure_service(none, options.repeats)
        print("stored:")
        measure_service(stored, options.repeats)


if __name__ == "__main__":
    main()
