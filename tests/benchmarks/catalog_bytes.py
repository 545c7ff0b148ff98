"""From Kafka's bytes to rows: CPU an outcome of the catalog consumer, and of its parts.

    python -m tests.benchmarks.catalog_bytes --outcomes 20000
    python -m tests.benchmarks.catalog_bytes --postgres

Each outcome makes two rows (difference image, visit image). CPU of this process: on PostgreSQL the
server's is not in it.
"""

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.servers.postgres import running_postgres

from residua.catalog.rows import Site, difference_image_row, visit_image_row
from residua.catalog.writing.transaction import open_database, write_batch
from residua.identity import dataset_id
from residua.messaging.records.events import IncomingRecord, parse_event
from residua_schemas import DifferenceImageCreated, SkyPolygon, VisitDetector, outcome_from_json
from residua_schemas.examples import examples

TOPIC = "difference-images"


def outcome_records(number: int, first: int = 0) -> list[IncomingRecord]:
    """Records of created outcomes, each of a visit of its own, numbered from the first on."""
    example = examples()[DifferenceImageCreated]
    records = []
    for n in range(first, first + number):
        who = VisitDetector(instrument="Sim", visit=n, detector=n % 189)
        # Each image a footprint of its own; begin and end are one, as those of a visit.
        region = _region(n)
        image = example.visit_image_metadata
        assert image is not None
        event = example.model_copy(
            update={
                "visit_detector": who,
                "arrival": example.arrival.model_copy(
                    update={"visit_detector": who, "region": region}
                ),
                "visit_image_metadata": image.model_copy(update={"region": region}),
                "region": region,
                "dataset_id": dataset_id(example.run, who),
            }
        )
        value = event.model_dump_json(exclude_none=True).encode()
        records.append(IncomingRecord(TOPIC, 0, n, who.key, value, 0))
    return records


def _region(number: int) -> SkyPolygon:
    ra, dec = (0.37 * number) % 359.0, (0.0011 * number) % 120.0 - 60.0
    return SkyPolygon(
        vertices=((ra, dec), (ra + 0.26, dec), (ra + 0.26, dec + 0.22), (ra, dec + 0.22))
    )


def measure(url: str, number: int, batch: int) -> None:
    """Print CPU microseconds an outcome."""
    records, site = outcome_records(number), Site()
    engine = open_database(url)
    write_batch(engine, records[:batch], TOPIC, site)
    begin = time.process_time()
    outcomes = [parse_event(r, outcome_from_json, "outcome") for r in records]
    parsed = time.process_time()
    for outcome in outcomes:
        difference_image_row(outcome, site)
        visit_image_row(outcome, site)
    built = time.process_time()
    for n in range(batch, number, batch):
        write_batch(engine, records[n : n + batch], TOPIC, site)
    written = time.process_time() - built
    whole = written / (number - batch)
    engine.dispose()
    print(f"{engine.dialect.name}, {number} outcomes of {len(records[0].value)} bytes")
    print(f"  parse            {1e6 * (parsed - begin) / number:7.0f} us")
    print(f"  two rows         {1e6 * (built - parsed) / number:7.0f} us")
    print(f"  bytes to rows    {1e6 * whole:7.0f} us: {1.0 / whole:.0f} outcomes/s a core")


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL started here")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.postgres:
            server = stack.enter_context(running_postgres())
            url = server.create_database("bytes", ["pg_sphere"])
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = f"sqlite:///{Path(folder) / 'catalog.sqlite'}"
        measure(url, options.outcomes, options.batch)


if __name__ == "__main__":
    main()
