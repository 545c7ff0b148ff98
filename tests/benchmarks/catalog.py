"""How fast the catalog is written and queried, through HTTP, on SQLite and on PostgreSQL.

``python tests/benchmarks/catalog.py [--rows N] [--database sqlite|postgresql] [--json FILE]``

Rows are simulated difference images over the whole sky, written by the consumer's own upsert in
batches of 500. Queries go through the service over loopback, each with another random position;
what is printed is the median and the 95th percentile of the whole round trip, and the CPU time of
the service's own process, which another load on the machine does not change much.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import psutil
from sqlalchemy import create_engine

from residua.catalog.rows import Row, Site, difference_image_row
from residua.catalog.upsert import upsert_rows
from residua.obscore import create_tables
from residua.testing.postgres import postgres_missing, running_postgres
from residua_schemas import DifferenceImageCreated
from residua_schemas.examples import examples

BATCH = 500
LIMIT_SECONDS = 0.05
BANDS = {
    "g": (402.6e-9, 548.3e-9),
    "r": (551.0e-9, 689.1e-9),
    "i": (693.6e-9, 818.8e-9),
    "z": (819.2e-9, 920.1e-9),
}
FIRST_NIGHT = 60_600.0
NIGHTS = 300.0


def simulated_rows(count: int, seed: int) -> Iterator[Row]:
    """Yield rows of detectors of 0.22 deg over the whole sky and 300 nights."""
    rng = np.random.default_rng(seed)
    event = examples()[DifferenceImageCreated]
    assert isinstance(event, DifferenceImageCreated)
    base = difference_image_row(event, Site())
    # The event is 90 % of a row's bytes and no part of any query: one is enough for all.
    half = 0.11
    for i in range(count):
        ra, dec = rng.uniform(0.0, 360.0), float(np.degrees(np.arcsin(rng.uniform(-0.99, 0.99))))
        w = half / np.cos(np.radians(dec))
        west, east = (ra - w) % 360.0, (ra + w) % 360.0
        band = list(BANDS)[i % 4]
        t_min = FIRST_NIGHT + NIGHTS * i / count
        identity = str(UUID(bytes=rng.bytes(16), version=4))
        did = f"ivo://org.residua/difference-images?id={identity}"
        yield {
            **base,
            "dataset_id": identity,
            "obs_publisher_did": did,
            "record_key": f"LSSTCam/{i // 189}/{i % 189}",
            "row_hash": identity,
            "access_url": Site().access_url(did),
            "s_ra": ra,
            "s_dec": dec,
            "s_fov": 2.0 * np.hypot(half, half),
            "s_region": f"POLYGON ICRS {west:.6f} {dec - half:.6f} {east:.6f} {dec - half:.6f} "
            f"{east:.6f} {dec + half:.6f} {west:.6f} {dec + half:.6f}",
            "t_min": t_min,
            "t_max": t_min + 30.0 / 86_400.0,
            "lsst_visit": i // 189,
            "lsst_detector": i % 189,
            "lsst_band": band,
            "em_min": BANDS[band][0],
            "em_max": BANDS[band][1],
        }


def write_rows(url: str, count: int) -> tuple[float, float]:
    """Write rows in batches, a transaction each; return rows per second, and per CPU second."""
    engine = create_engine(url)
    create_tables(engine)
    seconds = cpu = 0.0
    batch: list[Row] = []

    def write() -> None:
        nonlocal seconds, cpu
        began, cpu_began = time.perf_counter(), time.process_time()
        with engine.begin() as connection:
            upsert_rows(connection, batch)
        seconds += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
        batch.clear()

    for row in simulated_rows(count, 1):
        batch.append(row)
        if len(batch) == BATCH:
            write()
    if batch:
        write()
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE obscore")
    engine.dispose()
    return count / seconds, count / cpu


def cone(rng: np.random.Generator) -> str:
    """Positions within half a degree."""
    ra, dec = position(rng)
    circle = f"CIRCLE('ICRS', {ra}, {dec}, 0.5)"
    return f"SELECT * FROM ivoa.ObsCore WHERE 1 = CONTAINS(POINT('ICRS', s_ra, s_dec), {circle})"


def polygon(rng: np.random.Generator) -> str:
    """Footprints that meet a quadrilateral of a degree."""
    ra, dec = position(rng)
    w = 0.5 / np.cos(np.radians(dec))
    corners = [(ra - w, dec - 0.5), (ra + w, dec - 0.5), (ra + w, dec + 0.5), (ra - w, dec + 0.5)]
    numbers = ", ".join(f"{a}, {d}" for a, d in corners)
    region = f"POLYGON('ICRS', {numbers})"
    return f"SELECT * FROM ivoa.ObsCore WHERE 1 = INTERSECTS({region}, s_region)"


def time_and_band(rng: np.random.Generator) -> str:
    """One band in a few minutes: about forty rows of a million."""
    begin = FIRST_NIGHT + rng.uniform(0.0, NIGHTS - 1.0)
    return (
        f"SELECT * FROM ivoa.ObsCore WHERE lsst_band = 'r' "
        f"AND t_min BETWEEN {begin} AND {begin + 0.05}"
    )


def position(rng: np.random.Generator) -> tuple[float, float]:
    """Return a random position, degrees."""
    return float(rng.uniform(1.0, 359.0)), float(np.degrees(np.arcsin(rng.uniform(-0.95, 0.95))))


QUERIES: dict[str, Callable[[np.random.Generator], str]] = {
    "cone": cone,
    "polygon": polygon,
    "time and band": time_and_band,
}


@contextmanager
def served(url: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service in a process of its own; yield its address and the process."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]

    environment = {**os.environ, "RESIDUA_CATALOG_URL": url, "RESIDUA_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "residua.access"], env=environment)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{base}/health").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield base, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def measure(base: str, process: psutil.Process, repeats: int) -> dict[str, dict[str, float]]:
    """Time each kind of query through HTTP, one after the other."""
    result = {}
    with httpx.Client(base_url=base, timeout=60.0) as client:
        for name, build in QUERIES.items():
            rng = np.random.default_rng(2)
            seconds, rows = [], 0
            cpu = 0.0
            for i in range(repeats + 5):
                if i == 5:
                    cpu = sum(process.cpu_times()[:2])
                data = {"LANG": "ADQL", "QUERY": build(rng)}
                began = time.perf_counter()
                answer = client.post("/tap/sync", data=data)
                taken = time.perf_counter() - began
                answer.raise_for_status()
                if i >= 5:
                    seconds.append(taken)
                    rows += answer.text.count("<TR>")
            result[name] = {
                "median_ms": 1e3 * float(np.median(seconds)),
                "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
                "service_cpu_ms": 1e3 * (sum(process.cpu_times()[:2]) - cpu) / repeats,
                "rows": rows / repeats,
            }
    return result


def run(database: str, rows: int, repeats: int) -> dict[str, object]:
    """Fill and query one database."""
    with ExitStack() as stack:
        if database == "sqlite":
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{Path(directory)}/catalog.sqlite"
        else:
            server = stack.enter_context(running_postgres())
            url = server.create_database("benchmark", ["pg_sphere"])
        rate, cpu_rate = write_rows(url, rows)
        base, process = stack.enter_context(served(url))
        return {
            "database": database,
            "rows": rows,
            "upserts_per_s": rate,
            "upserts_per_client_cpu_s": cpu_rate,
            "queries": measure(base, process, repeats),
        }


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    for database in arguments.database or ["sqlite", "postgresql"]:
        missing = postgres_missing("pg_sphere") if database == "postgresql" else None
        if missing is not None:
            print(f"{database}: absent ({missing})")
            continue
        result = run(database, arguments.rows, arguments.repeats)
        results.append(result)
        print(
            f"{database}, {result['rows']:,} rows: {result['upserts_per_s']:,.0f} upserts/s, "
            f"{result['upserts_per_client_cpu_s']:,.0f} per CPU second of the writer",
            flush=True,
        )
        for name, figures in result["queries"].items():  # type: ignore[attr-defined]
            print(
                f"  {name:14} median {figures['median_ms']:7.1f} ms   "
                f"p95 {figures['p95_ms']:7.1f} ms   "
                f"CPU {figures['service_cpu_ms']:5.1f} ms   {figures['rows']:6.1f} rows",
                flush=True,
            )
    if arguments.json is not None:
        machine = {"machine": platform.processor() or platform.machine(),
                   "python": platform.python_version()}  # fmt: skip
        arguments.json.write_text(json.dumps({**machine, "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
