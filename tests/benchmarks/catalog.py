"""How fast the catalog is written and queried, through HTTP, on SQLite and on PostgreSQL.

``python -m tests.benchmarks.catalog [--rows N] [--database sqlite|postgresql] [--json FILE]``

Rows are simulated difference images over the whole sky, as a survey makes them: visit after
visit. The table is filled first; what counts
as upserts is written then, into the full table, by the consumer's own upsert in batches of 500,
each its own transaction (PostgreSQL as in production: a commit waits for the disk). Queries go
through the service over loopback, one after the other, each with another random position; what
is printed is the median and the 95th percentile of the whole round trip, and the CPU time of
the service's own process, which another load on the machine does not change much.

Ten million rows: ``--rows 10000000 --database postgresql --bulk``. With ``--url`` the catalog is
kept, and a later call finds it full: fill it with ``--fill-only``, measure on an idle machine.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
import psutil
from sqlalchemy import Engine
from tests.benchmarks.catalog_rows import FIRST_NIGHT, NIGHTS, fill, row_count, simulated_rows
from tests.support.servers.postgres import postgres_missing, running_postgres

from residua.catalog.writing.transaction import open_database
from residua.catalog.writing.upsert import upsert_rows

BATCH = 500


def write_rows(engine: Engine, count: int) -> tuple[float, float]:
    """Write new rows in batches, a transaction each; return rows per second, and per CPU second."""
    rows = list(simulated_rows(count, time.time_ns(), begin=FIRST_NIGHT + NIGHTS))
    seconds = cpu = 0.0
    for start in range(0, count, BATCH):
        batch = rows[start : start + BATCH]
        began, cpu_began = time.perf_counter(), time.process_time()
        with engine.begin() as connection:
            upsert_rows(connection, batch)
        seconds += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
    return count / seconds, count / cpu


def prepare(engine: Engine) -> None:
    """Leave the database as its own housekeeping would."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE obscore")


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
    """One band in an hour: about thirty-five rows of a million."""
    begin = FIRST_NIGHT + rng.uniform(0.0, NIGHTS - 1.0)
    return (
        f"SELECT * FROM ivoa.ObsCore WHERE lsst_band = 'r' "
        f"AND t_min BETWEEN {begin} AND {begin + 1.0 / 24.0}"
    )


def newest(rng: np.random.Generator) -> str:
    """Return what a dashboard asks: the newest images of a band."""
    band = str(rng.choice(["g", "r", "i"]))
    return f"SELECT TOP 10 * FROM ivoa.ObsCore WHERE lsst_band = '{band}' ORDER BY t_min DESC"


def visit(rng: np.random.Generator) -> str:
    """Images of one visit."""
    return f"SELECT TOP 100 * FROM ivoa.ObsCore WHERE lsst_visit = {int(rng.integers(5_000))}"


def sia_circle(rng: np.random.Generator) -> dict[str, str]:
    """Footprints that meet a circle, through SIA."""
    ra, dec = position(rng)
    return {"POS": f"CIRCLE {ra} {dec} 0.25", "MAXREC": "100"}


def position(rng: np.random.Generator) -> tuple[float, float]:
    """Return a random position, degrees."""
    return float(rng.uniform(1.0, 359.0)), float(np.degrees(np.arcsin(rng.uniform(-0.95, 0.95))))


QUERIES: dict[str, Callable[[np.random.Generator], str | dict[str, str]]] = {
    "cone": cone,
    "polygon": polygon,
    "time and band": time_and_band,
    "newest of a band": newest,
    "a visit": visit,
    "SIA circle": sia_circle,
}


@contextmanager
def served(url: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service in a process of its own; yield its address and the process."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]

    environment = {
        **os.environ,
        "RESIDUA_CATALOG_URL": url,
        "RESIDUA_PORT": str(port),
        "RESIDUA_REQUESTS_PER_MINUTE": "0",
        "RESIDUA_METRICS_PORT": "0",
        "RESIDUA_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, "-m", "residua.access"], env=environment)
    base = f"http://127.0.0.1:{port}"
    try:
        _await(port, process)
        started = psutil.Process(process.pid)
        # It loads the code of cutouts behind its first answers.
        for _ in range(20):
            if started.cpu_percent(0.5) < 5.0:
                break
        yield base, started
    finally:
        process.terminate()
        process.wait(30)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    # By the plainest client: one with TLS takes 0.1 s of CPU to be made, of two cores.
    until = time.monotonic() + 180.0
    while time.monotonic() < until and process.poll() is None:
        client = HTTPConnection("127.0.0.1", port, timeout=10.0)
        try:
            client.request("GET", "/health")
            if client.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            client.close()
    raise RuntimeError("the service does not start")


def empty_page_cache() -> None:
    """Have the operating system forget the files it holds in memory (Linux, root)."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def ask(client: httpx.Client, asked: str | dict[str, str]) -> httpx.Response:
    """Send a query: ADQL to TAP, parameters to SIA."""
    if isinstance(asked, str):
        return client.post("/tap/sync", data={"LANG": "ADQL", "QUERY": asked})
    return client.get("/sia/query", params=asked)


def together(base: str, process: psutil.Process, clients: int, repeats: int) -> dict[str, float]:
    """Cones and circles of SIA in turn, from several clients at once."""

    def one(number: int) -> list[float]:
        rng = np.random.default_rng(number)
        seconds = []
        with httpx.Client(base_url=base, timeout=60.0) as client:
            for i in range(repeats):
                asked = cone(rng) if i % 2 else sia_circle(rng)
                began = time.perf_counter()
                ask(client, asked).raise_for_status()
                seconds.append(time.perf_counter() - began)
        return seconds

    cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = [s for part in pool.map(one, range(clients)) for s in part]
    return {
        "clients": clients,
        "requests_per_s": len(seconds) / (time.perf_counter() - began),
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "service_cpu_ms": 1e3 * (sum(process.cpu_times()[:2]) - cpu) / len(seconds),
    }


def measure(
    base: str, process: psutil.Process, repeats: int, *, cold: bool = False
) -> dict[str, dict[str, float]]:
    """Time each kind of query through HTTP, one after the other."""
    result = {}
    with httpx.Client(base_url=base, timeout=60.0) as client:
        for name, build in QUERIES.items():
            if cold:
                empty_page_cache()
            rng = np.random.default_rng(2)
            seconds, rows = [], 0
            cpu = 0.0
            for i in range(repeats + 5):
                if i == 5:
                    cpu = sum(process.cpu_times()[:2])
                asked = build(rng)
                began = time.perf_counter()
                answer = ask(client, asked)
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


def run(
    engine: Engine, url: str, repeats: int, upserts: int, *, cold: bool = False
) -> dict[str, object]:
    """Measure a filled catalog."""
    rows = row_count(engine)
    rate, cpu_rate = write_rows(engine, upserts)
    prepare(engine)
    with served(url) as (base, process):
        return {
            "database": engine.dialect.name,
            "rows": rows,
            "upserts_per_s": rate,
            "upserts_per_client_cpu_s": cpu_rate,
            "queries": measure(base, process, repeats, cold=cold),
            "together": together(base, process, 10, repeats),
        }


@contextmanager
def new_catalog(database: str) -> Iterator[str]:
    """Yield the URL of an empty database, removed afterwards."""
    with ExitStack() as stack:
        if database == "sqlite":
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            yield f"sqlite:///{Path(directory)}/catalog.sqlite"
        else:
            server = stack.enter_context(running_postgres(durable=True))
            yield server.create_database("benchmark", ["pg_sphere"])


def show(result: dict[str, object]) -> None:
    """Print a table."""
    print(
        f"{result['database']}, {result['rows']:,} rows: {result['upserts_per_s']:,.0f} upserts/s, "
        f"{result['upserts_per_client_cpu_s']:,.0f} per CPU second of the writer"
    )
    for name, figures in result["queries"].items():  # type: ignore[attr-defined]
        print(
            f"  {name:14} median {figures['median_ms']:7.1f} ms   "
            f"p95 {figures['p95_ms']:7.1f} ms   "
            f"CPU {figures['service_cpu_ms']:5.1f} ms   {figures['rows']:6.1f} rows",
            flush=True,
        )


def show_together(figures: dict[str, float]) -> None:
    """Print what several clients at once were given."""
    print(
        f"  {figures['clients']:.0f} clients     {figures['requests_per_s']:.0f} requests/s   "
        f"p95 {figures['p95_ms']:.1f} ms   CPU {figures['service_cpu_ms']:.1f} ms",
        flush=True,
    )


def main() -> int:
    """Fill, measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--upserts", type=int, default=50_000, help="rows written for the rate")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--url", help="a catalog to keep, SQLAlchemy URL; filled if need be")
    parser.add_argument("--bulk", action="store_true", help="let PostgreSQL make the rows itself")
    parser.add_argument(
        "--cold", action="store_true", help="empty the page cache before each kind of query (root)"
    )
    parser.add_argument("--fill-only", action="store_true", help="measure nothing")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = []
    for database in arguments.database or ["sqlite", "postgresql"]:
        missing = postgres_missing("pg_sphere") if database == "postgresql" else None
        if missing is not None and arguments.url is None:
            print(f"{database}: absent ({missing})")
            continue
        with ExitStack() as stack:
            url = arguments.url or stack.enter_context(new_catalog(database))
            engine = open_database(url)
            stack.callback(engine.dispose)
            fill(engine, arguments.rows, bulk=arguments.bulk and database == "postgresql")
            if arguments.fill_only:
                print(f"{row_count(engine):,} rows")
                continue
            results.append(
                run(engine, url, arguments.repeats, arguments.upserts, cold=arguments.cold)
            )
            show(results[-1])
            show_together(results[-1]["together"])  # type: ignore[arg-type]
    if arguments.json is not None:
        machine = {"machine": platform.processor() or platform.machine(),
                   "python": platform.python_version()}  # fmt: skip
        arguments.json.write_text(json.dumps({**machine, "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
