"""`residua catalog rebuild` of a long history: seconds and CPU, from a topic on Apache Kafka.

    python -m tests.benchmarks.catalog_rebuild --outcomes 1000000
    python -m tests.benchmarks.catalog_rebuild --outcomes 1000000 --postgres

Outcomes as `tests.benchmarks.catalog_bytes` has them, and the arrival of each. CPU is this
process's: that of Kafka and PostgreSQL is not in it.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import ExitStack
from itertools import batched
from pathlib import Path

from aiokafka import AIOKafkaProducer
from tests.benchmarks.catalog_bytes import outcome_records
from tests.support.servers.apache_kafka import running_kafka
from tests.support.servers.postgres import running_postgres

from residua.catalog.rebuild import rebuild_catalog
from residua.catalog.settings import CatalogSettings
from residua.messaging.client import client_options
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import KafkaSettings
from residua_schemas import DIFFERENCE_IMAGES, VISIT_ARRIVALS, outcome_from_json

_AT_ONCE = 2_000


async def fill(settings: KafkaSettings, number: int) -> None:
    """Write the topics."""
    await create_topics(settings, partitions=8)
    client = AIOKafkaProducer(**client_options(settings), linger_ms=20, max_batch_size=500_000)
    await client.start()
    try:
        for some in batched(range(number), _AT_ONCE):
            answers = []
            for record in outcome_records(len(some), some[0]):
                outcome = outcome_from_json(record.value or b"")
                arrival = outcome.arrival.model_dump_json(exclude_none=True).encode()
                for topic, value in (
                    (DIFFERENCE_IMAGES, record.value),
                    (VISIT_ARRIVALS, arrival),
                ):
                    answers.append(await client.send(topic.name, value=value, key=record.key))
            await asyncio.gather(*answers)
    finally:
        await client.stop()


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL started here")
    options = parser.parse_args()
    with ExitStack() as stack:
        bootstrap = stack.enter_context(running_kafka()).bootstrap
        if options.postgres:
            server = stack.enter_context(running_postgres())
            url = server.create_database("rebuilt", ["pg_sphere"])
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{Path(folder) / 'catalog.sqlite'}"
        settings = CatalogSettings(kafka_bootstrap=bootstrap, catalog_url=url)
        asyncio.run(fill(settings, options.outcomes))
        begin, cpu = time.monotonic(), time.process_time()
        report = asyncio.run(rebuild_catalog(settings))
        seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
        print(
            f"{url.partition(':')[0]}, {options.outcomes} outcomes: {report.records} records, "
            f"{report.rows} rows, {report.refused} refused; {seconds:.0f} s, {cpu:.0f} s of CPU, "
            f"{1e6 * cpu / options.outcomes:.0f} us of CPU an outcome"
        )


if __name__ == "__main__":
    main()
