"""Register difference images in batches, as the registrar does, and count datasets a second.

    python -m tests.benchmarks.butler [--datasets N] [--batch N] [--sqlite] [--repeats N]

Every visit has nine detectors, every file exists, nothing is registered before. PostgreSQL is
started for the run. Exits with 1 below 100 datasets a second (median of the repeats).
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.servers.postgres import running_postgres

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository
from residua.instruments import InstrumentRegistry
from residua.testing.difference_images import difference_image_event

WANTED = 100.0


def register(directory, registry_url, datasets, batch):
    """Seconds of wall and CPU to register new datasets in an empty repository."""
    repo = str(directory / "repo")
    create_repository(repo, registry_url=registry_url)
    events = []
    for n in range(datasets + 1):
        path = directory / f"{n}.fits"
        path.touch()
        events.append(difference_image_event(2024110800000 + n // 9, n % 9, path.as_uri()))
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler, instruments=InstrumentRegistry(), output_root=str(directory), pause=_never
        )
        # The instrument, the run and the formatter's import are there once.
        assert not registrar.register(events[-1:])
        begin, cpu = time.perf_counter(), time.process_time()
        for start in range(0, datasets, batch):
            assert not registrar.register(events[start : start + batch])
        return time.perf_counter() - begin, time.process_time() - cpu


def _never(seconds):
    raise AssertionError(f"nobody is in the way, and yet a pause of {seconds} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sqlite", action="store_true")
    arguments = parser.parse_args()
    rates = []
    with ExitStack() as stack:
        server = None if arguments.sqlite else stack.enter_context(running_postgres())
        for repeat in range(arguments.repeats):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = server and server.create_database(f"registry{repeat}", ["btree_gist"])
            wall, cpu = register(directory, url, arguments.datasets, arguments.batch)
            rates.append(arguments.datasets / wall)
            print(
                f"{arguments.datasets} datasets, batches of {arguments.batch}: {wall:.2f} s "
                f"({cpu:.2f} s CPU here), {rates[-1]:.0f} a second, load {os.getloadavg()[0]:.1f}"
            )
    median = statistics.median(rates)
    print(f"median {median:.0f} a second, {WANTED:.0f} wanted")
    sys.exit(median < WANTED)


if __name__ == "__main__":
    main()
