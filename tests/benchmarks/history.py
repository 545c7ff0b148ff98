"""`residua status` and `residua replay --dry-run` on a long history: seconds, CPU, memory.

    python -m tests.benchmarks.history --outcomes 1000000

The outcomes are rows of the catalog, made by the database itself; the topics are empty, as of a
survey whose services have read them. Each line is a command of its own process, start included.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine
from tests.support.servers.postgres import running_postgres

from residua.catalog.writing.transaction import open_database
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import DifferenceImageCreated
from residua_schemas.examples import examples

COMMANDS = {
    "status": ["status"],
    "failures of a night": ["replay", "--dry-run", "--outcome", "failed", "--day-obs", "20260105"],
    "all failures, forced": ["replay", "--dry-run", "--outcome", "failed", "--force"],
    "a range of visits": ["replay", "--dry-run", "--visits", "2000:2100"],
    "all": ["replay", "--dry-run", "--all"],
    "all, forced": ["replay", "--dry-run", "--all", "--force"],
}


def fill(engine: Engine, number: int) -> None:
    """Make so many outcomes: 189 detectors a visit, 1,000 visits a night, one in 50 failed."""
    example = examples()[DifferenceImageCreated]
    arrival = example.arrival.model_dump_json(exclude_none=True)
    who = '"visit_detector":{"instrument":"LSSTComCam","visit":2024110800253,"detector":4}'
    head, found, tail = arrival.partition(who)
    assert found, arrival
    sqlite = engine.dialect.name == "sqlite"
    numbers = (
        "WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {0} - 1)"
        if sqlite
        else "WITH s(n) AS (SELECT generate_series(0, {0} - 1))"
    ).format(number)
    identity = "printf('%032x', n)" if sqlite else "lpad(to_hex(n), 32, '0')"
    visit, detector, night = "n / 189", "n % 189", "20260101 + n / 189 / 1000"
    text = (
        f'\'{head}"visit_detector":{{"instrument":"Sim","visit":\' || ({visit}) || '
        f"',\"detector\":' || ({detector}) || '}}{tail}'"
    )
    statement = (
        f"INSERT INTO arrival_outcome {numbers} SELECT {identity}, 0, '{example.run}', 'Sim', "
        f"{visit}, {detector}, CASE WHEN n % 50 = 7 THEN 'failed' ELSE 'created' END, {night}, "
        f"1795387024877 + n, 1795387024877 + n, n % 32, n / 32, {text} FROM s"
    )
    # As wide as those of a survey: what a scan costs is their bytes.
    digest = f"{identity} || {identity}"
    detectors = (
        "INSERT INTO visit_detector (dataset_id, instrument, visit, detector, run, revision, "
        f"outcome, day_obs, message, row_hash) {numbers} SELECT {identity}, 'Sim', {visit}, "
        f"{detector}, '{example.run}', 0, CASE WHEN n % 50 = 7 THEN 'failed' ELSE 'created' END, "
        f"{night}, '{'m' * 300}', {digest} FROM s"
    )
    with engine.begin() as connection:
        for one in (statement, detectors):
            connection.exec_driver_sql(one.replace("%", "%" if sqlite else "%%"))


def measure(url: str, number: int, bootstrap: str, prefix: str, only: list[str]) -> None:
    """Print a line a command."""
    engine = open_database(url)
    fill(engine, number)
    name = engine.dialect.name
    engine.dispose()
    environment = {
        **os.environ,
        "RESIDUA_KAFKA_BOOTSTRAP": bootstrap,
        "RESIDUA_TOPIC_PREFIX": prefix,
        "RESIDUA_CATALOG_URL": url,
    }
    print(f"{name}, {number} outcomes")
    for title, command in COMMANDS.items():
        if only and title not in only:
            continue
        begin = time.monotonic()
        process = subprocess.Popen(
            [Path(sys.executable).parent / "residua", *command, "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        output, error = process.communicate()
        seconds = time.monotonic() - begin
        usage = os.times()
        print(
            f"  {title:22} {seconds:6.1f} s, rc {process.returncode}, children's CPU so far "
            f"{usage.children_user + usage.children_system:6.1f} s  "
            f"{' '.join(output.split())[:160]}{error[-200:]}",
            flush=True,
        )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL started here")
    parser.add_argument("--only", nargs="+", default=[], choices=list(COMMANDS))
    options = parser.parse_args()
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker("history-"))
        settings = KafkaSettings(kafka_bootstrap=broker.bootstrap, topic_prefix="history-")
        asyncio.run(create_topics(settings, partitions=32))
        if options.postgres:
            server = stack.enter_context(running_postgres())
            url = server.create_database("history", ["pg_sphere"])
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{Path(folder) / 'catalog.sqlite'}"
        measure(url, options.outcomes, broker.bootstrap, "history-", options.only)


if __name__ == "__main__":
    main()
