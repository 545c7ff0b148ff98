"""The workers' index of templates: CPU of a record, of an arrival's choice, and memory.

    python -m tests.benchmarks.template_index --templates 1000000

Templates of one band, patches of 0.2 deg over all the sky, as a survey has them; arrivals with a
detector's footprint anywhere among them.
"""

import argparse
import gc
import json
import time

import numpy as np
import psutil

from residua.messaging.records.events import IncomingRecord
from residua.worker.templates.in_force import Templates
from residua_schemas import SkyPolygon, TemplateCoadd
from residua_schemas.examples import examples

_STEP = 0.2


def records(number: int):
    """Records of templates that tile the sky in rings of declination."""
    example = examples()[TemplateCoadd].model_dump(mode="json", exclude_none=True)
    example |= {"template_set": "default", "band": "r"}
    n = 0
    for dec in np.arange(-89.0, 89.0, _STEP):
        width = _STEP / np.cos(np.radians(min(abs(dec), abs(dec + _STEP))))
        for ra in np.arange(0.0, 360.0 - width, width):
            if n == number:
                return
            corners = [[ra, dec], [ra + width, dec], [ra + width, dec + _STEP], [ra, dec + _STEP]]
            event = {
                **example,
                "tract": n // 100,
                "patch": n % 100,
                "region": {"vertices": [[float(x), float(y)] for x, y in corners]},
            }
            key = f"default/r/s/{n // 100}/{n % 100}".encode()
            yield IncomingRecord("template-coadds", 0, n, key, json.dumps(event).encode(), n)
            n += 1


def measure(number: int, arrivals: int) -> None:
    """Print a line for an index of so many templates."""
    process = psutil.Process()
    index, spent, before = Templates("default"), 0.0, process.memory_info().rss
    for record in records(number):
        begin = time.process_time()
        index.apply(record)
        spent += time.process_time() - begin
    gc.collect()
    memory = process.memory_info().rss - before
    rng = np.random.default_rng(1)
    # Where there are templates: the first of them lie around the south pole.
    highest = -89.0 + 178.0 * min(1.0, number / 1_030_000)
    footprints = []
    for _ in range(arrivals):
        ra, dec = rng.uniform(1.0, 358.0), rng.uniform(-88.0, max(highest - 1.0, -87.0))
        half = 0.11 / np.cos(np.radians(dec))
        footprints.append(
            SkyPolygon(
                vertices=(
                    (ra - half, dec - 0.11), (ra + half, dec - 0.11),
                    (ra + half, dec + 0.11), (ra - half, dec + 0.11),
                )
            )
        )  # fmt: skip
    times, found = [], 0
    for footprint in footprints:
        begin = time.process_time()
        found += len(index.candidates("r", footprint))
        times.append(1e3 * (time.process_time() - begin))
    print(
        f"{len(index):8d} templates: {1e6 * spent / number:4.0f} us a record, "
        f"{memory / 1e6:6.0f} MB ({memory / number:4.0f} bytes each); an arrival "
        f"{np.median(times):.2f} ms (99 %: {np.percentile(times, 99):.2f}), "
        f"{found / arrivals:.1f} templates",
        flush=True,
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--arrivals", type=int, default=2000)
    options = parser.parse_args()
    for number in options.templates:
        measure(number, options.arrivals)


if __name__ == "__main__":
    main()
