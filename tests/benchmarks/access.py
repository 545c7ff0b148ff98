"""What the access service takes for searches, cutouts and detections: its own CPU, and the wait.

``python -m tests.benchmarks.access requests --keep FOLDER`` asks a catalog of a million rows on
PostgreSQL for cones and circles of SIA: one client, then ten. The database is made in the folder by
the first call, which takes minutes, and found there by those that follow; ``--url URL`` takes one
that runs (``python -m tests.benchmarks.catalog --url URL --bulk --fill-only`` fills it).
``cutouts [--s3]`` cuts stamps out of a whole detector. ``load [--database NAME]`` has the catalog
consumer load images of 1,000 detections; ``sources --keep FOLDER [--rows N]`` fills ``dia_source``
and asks for cones.

The service is a process of its own, as in production. Clients are as plain as they can be, so that
two cores serve the service: connections that stay open, answers that are read and not parsed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
import psutil
from lsst.resources import ResourcePath
from tests.benchmarks.access_sources import (
    fill_sources,
    load_detections,
    source_cone,
    source_positions,
)
from tests.benchmarks.catalog import cone, fill, new_catalog, served, sia_circle
from tests.support.servers.postgres import kept_postgres
from tests.support.servers.s3 import running_s3

from residua.catalog.rows import Site, difference_image_row
from residua.catalog.writing.transaction import open_database
from residua.catalog.writing.upsert import upsert_rows
from residua.testing.difference_images import difference_image_event, write_file

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SHAPE = (4000, 4072)
PIXEL = 0.2 / 3600.0

type Asked = str | dict[str, str]
"""A query in ADQL for TAP, or parameters: of SIA, or of a cutout if there is an ID."""


def send(client: HTTPConnection, asked: Asked) -> bytes:
    """Ask, and read the whole answer."""
    if isinstance(asked, str):
        body = urlencode({"LANG": "ADQL", "QUERY": asked})
        client.request("POST", "/tap/sync", body, FORM)
    else:
        path = "/cutout" if "ID" in asked else "/sia/query"
        client.request("GET", f"{path}?{urlencode(asked)}")
    answer = client.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {content[:300]!r}")
    return content


def ask(
    base: str,
    process: psutil.Process,
    build: Callable[[np.random.Generator, int], Asked],
    clients: int,
    repeats: int,
) -> dict[str, float]:
    """Ask from several clients at once, after a few unmeasured requests."""
    address = urlsplit(base).netloc

    def one(number: int) -> tuple[list[float], int]:
        rng = np.random.default_rng([clients, number])
        client = HTTPConnection(address, timeout=60.0)
        seconds, size = [], 0
        for i in range(repeats):
            asked = build(rng, i)
            began = time.perf_counter()
            size += len(send(client, asked))
            seconds.append(time.perf_counter() - began)
        client.close()
        return seconds, size

    client = HTTPConnection(address, timeout=60.0)
    for i in range(12):
        send(client, build(np.random.default_rng(99), i))
    client.close()
    wait_until_idle(process)
    cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(one, range(clients)))
    wall = time.perf_counter() - began
    cpu = sum(process.cpu_times()[:2]) - cpu
    seconds = [s for part, _ in parts for s in part]
    return {
        "clients": clients,
        "requests": len(seconds),
        "requests_per_s": len(seconds) / wall,
        "median_ms": 1e3 * float(np.median(seconds)),
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "service_cpu_ms": 1e3 * cpu / len(seconds),
        "kilobytes": sum(size for _, size in parts) / len(seconds) / 1e3,
    }


@contextmanager
def kept_catalog(folder: Path) -> Iterator[str]:
    """Start PostgreSQL on a folder and yield the URL of its catalog of a million images."""
    with kept_postgres(folder.resolve(), "benchmark", ["pg_sphere"]) as url:
        engine = open_database(url)
        fill(engine, 1_000_000, bulk=True)
        engine.dispose()
        yield url


def wait_until_idle(process: psutil.Process) -> None:
    """Wait until the service has loaded what it does not need to start, but will."""
    before = -1.0
    while (now := sum(process.cpu_times()[:2])) - before > 0.03:
        before = now
        time.sleep(1.0)


type Figures = Iterator[tuple[str, dict[str, float]]]
"""What was measured, by name, as it comes."""


def measure_requests(url: str, repeats: int) -> Figures:
    """Cones, circles of SIA, and both in turn from ten clients."""
    builds: list[tuple[str, int, Callable[[np.random.Generator, int], Asked]]] = [
        ("cone of TAP", 1, lambda rng, _: cone(rng)),
        ("circle of SIA", 1, lambda rng, _: sia_circle(rng)),
        ("both in turn", 10, lambda rng, i: cone(rng) if i % 2 else sia_circle(rng)),
    ]
    with served(url) as (base, process):
        for name, clients, build in builds:
            yield name, ask(base, process, build, clients, repeats)


@contextmanager
def one_image(*, s3: bool) -> Iterator[tuple[str, str, str, tuple[float, float]]]:
    """A whole detector in a store; yield catalog, root, identifier and centre."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        event = difference_image_event(2026112200101, 4, "", shape=SHAPE)
        event = write_file(directory / "image.fits", event)
        root = str(directory)
        if s3:
            server = stack.enter_context(running_s3("cutouts"))
            for name, value in server.environment.items():
                os.environ[name] = value
            root = "s3://cutouts/images"
            place = ResourcePath(f"{root}/image.fits")
            place.write((directory / "image.fits").read_bytes())
            event = event.model_copy(update={"uri": str(place)})
        url = f"sqlite:///{directory}/catalog.sqlite"
        engine = open_database(url)
        with engine.begin() as connection:
            upsert_rows(connection, [difference_image_row(event, Site())])
        engine.dispose()
        yield url, root, event.obs_publisher_did, event.region.center


def measure_cutouts(repeats: int, *, s3: bool) -> Figures:
    """Stamps at random places: the first is unmeasured, as are eleven more."""
    with one_image(s3=s3) as (url, root, did, (ra, dec)):

        def stamp(mode: str, size: int) -> Callable[[np.random.Generator, int], Asked]:
            def build(rng: np.random.Generator, _: int) -> Asked:
                half = size / 2.0 * PIXEL
                x, y = rng.uniform(-0.09, 0.09, 2)
                a, d = ra + x / np.cos(np.radians(dec)), dec + y
                w = half / np.cos(np.radians(d))
                box = f"RANGE {a - w} {a + w} {d - half} {d + half}"
                return {"ID": did, "POS": box, "CUTOUTMODE": mode}

            return build

        modes = [("image", 256), ("image", 51), ("masked-image", 256), ("exposure", 256)]
        os.environ["RESIDUA_IMAGE_ROOTS"] = json.dumps([root])
        with served(url) as (base, process):
            for mode, size in modes:
                # The whole archive is read and written again.
                number = repeats if mode != "exposure" else max(1, repeats // 20)
                figures = ask(base, process, stamp(mode, size), 1, number)
                yield f"{mode}, {size} px", figures


def measure_sources(url: str, rows: int, repeats: int) -> Figures:
    """Cones around detections."""
    engine = open_database(url)
    fill_sources(engine, rows)
    places = source_positions(engine, 2_000)
    engine.dispose()

    def build(rng: np.random.Generator, _: int) -> Asked:
        return source_cone(*places[int(rng.integers(len(places)))])

    with served(url) as (base, process):
        for clients in (1, 10):
            yield f"{clients} client(s)", ask(base, process, build, clients, repeats)


def show(figures: Figures) -> None:
    """Print a table, each line when it was measured."""
    for name, f in figures:
        print(
            f"{name:22} {f['clients']:3.0f} clients {f['requests']:6.0f} requests "
            f"{f['requests_per_s']:7.1f}/s  median {f['median_ms']:6.1f}  p95 {f['p95_ms']:6.1f} ms"
            f"  CPU {f['service_cpu_ms']:6.2f} ms  {f['kilobytes']:8.1f} kB",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["requests", "cutouts", "load", "sources"])
    parser.add_argument("--url", help="a filled catalog, SQLAlchemy URL")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--rows", type=int, default=10_000_000, help="detections in all")
    parser.add_argument("--images", type=int, default=100, help="images to load")
    parser.add_argument("--repeats", type=int, default=200, help="requests of a client")
    parser.add_argument("--s3", action="store_true", help="the image lies in an S3 store")
    parser.add_argument("--keep", type=Path, help="where a database lies that is made once")
    options = parser.parse_args(arguments)
    if options.what in {"requests", "sources"} and not (options.url or options.keep):
        parser.error(f"{options.what} needs --keep FOLDER or --url URL")
    with ExitStack() as stack:
        if options.keep is not None:
            options.url = stack.enter_context(kept_catalog(options.keep))
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Measure, on the catalog of the URL."""
    match options.what:
        case "requests":
            show(measure_requests(options.url, options.repeats))
        case "cutouts":
            show(measure_cutouts(options.repeats, s3=options.s3))
        case "sources":
            show(measure_sources(options.url, options.rows, options.repeats))
        case _:
            with ExitStack() as stack:
                url = options.url or stack.enter_context(new_catalog(options.database))
                with tempfile.TemporaryDirectory() as directory:
                    print(load_detections(url, Path(directory), options.images), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
