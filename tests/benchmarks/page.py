"""How fast the page is on a night of 10,000 visit-detectors, and whether it follows what comes.

``python -m tests.benchmarks.page`` fills an SQLite catalog (or that of ``--url``) through the
catalog consumer's own code, serves it, and times each page as a browser asks for it; then writes
five outcomes a second and looks how long each takes to be sent by the live view.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx
from tests.access.conftest import serving

from residua.access.settings import AccessSettings
from residua.catalog.rows import Site
from residua.catalog.writing.transaction import open_database, write_batch
from residua.messaging.records.events import IncomingRecord
from residua.testing.difference_images import difference_image_event
from residua_schemas import outcome_from_json

TOPIC = "difference-images"
DETECTORS = 189
FIRST_MS = 1_795_500_000_000
HTML = {"Accept": "text/html"}


def record(number: int) -> IncomingRecord:
    """Outcome of one visit-detector; the visits wander over the sky."""
    visit, detector = divmod(number, DETECTORS)
    position = (50.0 + visit % 20 + 0.2 * (detector % 15), -30.0 + 0.2 * (detector // 15))
    event = difference_image_event(
        2026112200001 + visit, detector, "s3://x/y.fits", position=position, band="grizy"[visit % 5]
    )
    value = event.model_dump_json().encode()
    return IncomingRecord(TOPIC, 0, number, event.key, value, FIRST_MS + 200 * number)


def fill(url: str, number: int) -> None:
    """Write so many outcomes, as the consumer does."""
    engine = open_database(url)
    for first in range(0, number, 500):
        batch = [record(n) for n in range(first, min(number, first + 500))]
        assert write_batch(engine, batch, TOPIC, Site(), None).refused == ()
    engine.dispose()


def timed(base: str, path: str, times: int) -> tuple[float, float, int]:
    """Median seconds to the last byte, CPU seconds (service and client), and bytes."""
    seconds, cpu, size = [], [], 0
    with httpx.Client(headers=HTML, timeout=60) as client:
        for _ in range(times):
            began, busy = time.perf_counter(), time.process_time()
            answer = client.get(f"{base}{path}")
            seconds.append(time.perf_counter() - began)
            cpu.append(time.process_time() - busy)
            assert answer.status_code == 200, answer.text[:300]
            size = len(answer.content)
    return statistics.median(seconds), statistics.median(cpu), size


def follow(base: str, url: str, first: int, number: int) -> list[float]:
    """Write five outcomes a second; return how long each took to be sent, seconds."""
    written: dict[int, float] = {}
    seen: dict[int, float] = {}

    def write() -> None:
        engine = open_database(url)
        for n in range(first, first + number):
            began = time.perf_counter()
            assert write_batch(engine, [record(n)], TOPIC, Site(), None).refused == ()
            written[n] = time.perf_counter()
            time.sleep(max(0.0, 0.2 - (time.perf_counter() - began)))

    writer = threading.Thread(target=write)
    with httpx.stream("GET", f"{base}/tonight/events", timeout=60) as stream:
        lines = stream.iter_lines()
        while next(lines):
            pass
        writer.start()
        while len(seen) < number:
            event = "".join(iter(lines.__next__, ""))
            now = time.perf_counter()
            for n in list(written):
                visit, detector = divmod(n, DETECTORS)
                if f'{2026112200001 + visit}<span class="sep">/</span>{detector}<' in event:
                    seen.setdefault(n, now)
    writer.join()
    return [seen[n] - written[n] for n in range(first, first + number)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database; default SQLite")
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--follow", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = asked.url or f"sqlite:///{folder}/catalog.sqlite"
        fill(url, asked.number)
        settings = AccessSettings(catalog_url=url, results_directory=Path(folder) / "results")
        with serving(settings) as base:
            night = "/night/20261122"
            paths = ("/", "/tonight?band=r", night, f"{night}?band=r&quantity=pull_rms")
            print(f"{asked.number} visit-detectors; seconds to the last byte, and CPU, medians")
            one = record(0)
            known = outcome_from_json(one.value or b"")
            ra, dec = known.region.center
            cone = f"/search?ra={ra}&dec={dec}&radius=1.0"
            compared = f"/compare?a={known.run}&b={known.run}&day=20261122"
            image = f"/view/{known.dataset_id}"
            for path in (*paths, f"{night}/series.json", image, "/search", cone, compared):
                seconds, cpu, size = timed(base, path, asked.times)
                print(f"{path[:45]:45} {seconds:8.3f} s {cpu:8.3f} CPU s {size / 1e3:9.1f} kB")
            delays = sorted(follow(base, url, asked.number, asked.follow))
            median, worst = statistics.median(delays), delays[-1]
            print(f"live view at 5 outcomes/s: {len(delays)} of {asked.follow} seen, ", end="")
            print(f"median {median:.2f} s after the row, at most {worst:.2f} s")
            print(json.dumps({"live_median": median, "live_worst": worst}))


if __name__ == "__main__":
    main()
