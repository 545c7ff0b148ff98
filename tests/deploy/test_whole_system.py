"""A whole Residua beside Apache Kafka, an S3 store and PostgreSQL, watched as in operation.

`residua up` runs workers, catalog and Butler under its own supervisor; access service, bridge and
notifications run beside it, a Prometheus scrapes all, a collector takes their spans. Files are
announced with the commands that people use. Then: every arrival has its outcome, file, row and
dataset; one trace leads from the announcement to the row; every panel of every dashboard has an
answer, and each dashboard is drawn by a browser (Prometheus's own graphs: Grafana is not here).
"""

import asyncio
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import batched
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
from playwright.sync_api import sync_playwright
from tests.deploy.test_dashboards import NAMES, made
from tests.support.servers.apache_kafka import kafka_missing, running_kafka
from tests.support.servers.postgres import postgres_missing, running_postgres
from tests.support.servers.s3 import running_s3, s3_missing
from tests.support.servers.server_process import free_ports, wait_until
from tests.support.service_process import ServiceProcess
from tests.support.span_collector import collecting_spans
from tests.support.whole_system import System, files, ports_in_a_row, prometheus, up, work

from residua.access.page.search import EXAMPLES
from residua.demo.inputs import simulated_inputs
from residua.messaging.client import read_to_end
from residua.messaging.settings import KafkaSettings
from residua_schemas import NIGHT_SUMMARIES, NightSummary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "dashboards"
# What did not happen here has no series: nobody asked for an image that is not stored, the
# observatory sent nothing, every component answered.
DID_NOT_HAPPEN = {
    "Images made again a minute",
    "Images made again by the access service a minute",
    "Messages of the bridge a minute",
    "Bucket notifications a minute",
    "Tries again a minute, by cause",
    # Images are in S3, the catalog in PostgreSQL.
    "Free part of local disks",
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    program = shutil.which("prometheus")
    missing = kafka_missing() or postgres_missing("pg_sphere") or s3_missing()
    if program is None or missing:
        pytest.skip(missing or "no prometheus on the PATH (Debian's package prometheus has it)")
    folder = tmp_path_factory.mktemp("whole")
    inputs = simulated_inputs(
        folder / "in", seed=11, detector_shape=(640, 700), visits=3, detectors=2,
        template_set="default", progress=lambda _: None,
    )  # fmt: skip
    with ExitStack() as stack:
        kafka = stack.enter_context(running_kafka())
        store = stack.enter_context(running_s3("images"))
        database = stack.enter_context(running_postgres())
        url = database.create_database("residua_whole", ["pg_sphere"])
        spans = stack.enter_context(collecting_spans())
        first, (page, of_access, of_bridge, of_notifications) = ports_in_a_row(4), free_ports(4)
        environment = {
            **os.environ,
            **store.environment,
            "RESIDUA_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "RESIDUA_TRACES_ENDPOINT": spans.endpoint,
            "RESIDUA_HEARTBEAT_SECONDS": "2",
            "RESIDUA_TOPIC_PARTITIONS": "4",
        }
        roots = ["-i", *inputs.input_roots, "-t", *inputs.template_roots]
        log = stack.enter_context(
            up(
                environment, folder, *roots, "--bootstrap", kafka.bootstrap,
                "--output-root", "s3://images/night", "--catalog", url,
                "--metrics-port", str(first),
            )
        )  # fmt: skip
        beside = {
            "access": {
                "port": page, "metrics_port": of_access, "catalog_url": url,
                "results_directory": folder / "results", "image_roots": '["s3://images/night"]',
            },
            "bridge": {"metrics_port": of_bridge},
            "notifications": {"metrics_port": of_notifications},
        }  # fmt: skip
        for name, settings in beside.items():
            own = {f"RESIDUA_{k.upper()}": str(v) for k, v in settings.items()}
            process = ServiceProcess(name, f"residua.{name}", {**environment, **own}, folder)
            stack.callback(process.kill)
        verified = folder / "verified"
        verified.mkdir()
        # The node exporter's, once the file is there.
        targets = {
            "worker-0": first, "worker-1": first + 1, "catalog": first + 2, "butler": first + 3,
            "access": of_access, "bridge": of_bridge, "notifications": of_notifications,
        }  # fmt: skip
        textfiles = stack.enter_context(files(verified))
        address = stack.enter_context(prometheus(program, folder, {**targets, "node": textfiles}))
        found = System(
            inputs, kafka.bootstrap, store, url, spans, address, f"http://127.0.0.1:{page}", log,
        )  # fmt: skip
        work(found, environment, verified)
        yield found


def test_every_arrival_has_its_outcome_its_file_and_its_row(system: System):
    of_night = system.rows("SELECT outcome FROM visit_detector WHERE run NOT LIKE '%shadow'")
    kinds = sorted(outcome for (outcome,) in of_night)
    arrivals, covered = len(system.inputs.arrivals), len(system.inputs.truth)
    assert kinds.count("created") == covered
    assert (kinds.count("failed"), kinds.count("skipped")) == (1, arrivals - covered - 1)
    uris = {uri for (uri,) in system.rows(
        "SELECT uri FROM obscore WHERE dataset_type = 'difference_image'"
    )}  # fmt: skip
    keys = {f"s3://images/{key}" for key in system.store.keys("images", "night/")}
    assert len(uris) == 2 * covered
    assert uris <= keys
    assert system.rows("SELECT COUNT(*) FROM dia_source")[0][0] > 0
    assert "Traceback" not in system.log.read_text()
    assert "started again" not in system.log.read_text()
    for log in (system.log.parent / "residua-output" / "logs").glob("*.log"):
        assert all(line.startswith("{") for line in log.read_text().splitlines()), log.name


def test_one_visit_detectors_life_is_one_trace_across_processes(system: System):
    lives = {
        "residua-cli": {"visit-arrivals publish"},
        "residua-worker": {"visit-arrivals process", "read_visit_image", "subtract", "write"},
        "residua-catalog": {"difference-images catalog"},
        "residua-butler": {"difference-images butler"},
    }

    def whole() -> dict[str, list]:
        found = {}
        for spans in system.spans.traces().values():
            by_service: dict[str, set[str]] = {}
            for span in spans:
                by_service.setdefault(span.service, set()).add(span.name)
            who = {s.said.get("residua.visit_detector") for s in spans} - {None}
            if all(names <= by_service.get(service, set()) for service, names in lives.items()):
                [one] = who
                found[one] = spans
        return found

    created = {str(who) for who in system.inputs.truth}
    wait_until(lambda: created <= set(whole()), "every image has a whole trace", seconds=60)
    for spans in whole().values():
        known = {span.span: span for span in spans}
        [root] = [span for span in spans if not span.parent]
        assert (root.service, root.name) == ("residua-cli", "visit-arrivals publish")
        # Every other span hangs on one of another, up to the announcement.
        assert all(span.parent in known for span in spans if span is not root)


def test_the_night_is_closed_with_one_summary_and_asked_for_in_one_query(system: System):
    settings = KafkaSettings(kafka_bootstrap=system.bootstrap)

    async def read() -> list[NightSummary]:
        records = [r async for r in read_to_end(settings, settings.topic_name(NIGHT_SUMMARIES))]
        return [NightSummary.model_validate_json(r.value) for r in records]

    # The night was over long ago: it is closed when nothing has come for a minute.
    wait_until(lambda: asyncio.run(read()), "a summary", seconds=240, pause=2.0)
    [summary] = asyncio.run(read())
    arrivals = len(system.inputs.arrivals)
    assert (summary.arrived, summary.exposed) == (arrivals, arrivals)
    [adql] = [adql for name, adql in EXAMPLES.items() if "account" in name]
    day = system.inputs.arrivals[0].day_obs or summary.day_obs
    of_night = re.sub(r"\b20\d{6}\b", str(day), adql)
    query = urlencode({"LANG": "ADQL", "RESPONSEFORMAT": "csv", "QUERY": of_night})
    with urlopen(f"{system.page}/tap/sync?{query}", timeout=60) as response:
        rows = list(csv.DictReader(io.StringIO(response.read().decode())))
    # Each arrival, once for the night's run and once for the replay's.
    covered = len(system.inputs.truth)
    assert sum(int(row["created"]) for row in rows) == 2 * covered


def answer(system: System, expression: str) -> list[str]:
    asked = expression.replace("$__range", "10m").replace("$__rate_interval", "10m")
    url = f"{system.prometheus}/api/v1/query?query={quote(asked)}"
    with urlopen(url, timeout=10) as response:
        found = json.load(response)
    assert found["status"] == "success", found
    return [series["value"][1] for series in found["data"]["result"]]


def test_every_panel_has_an_answer_of_a_system_that_worked(system: System):
    def unanswered() -> dict[str, str]:
        return {
            panel["title"]: target["expr"]
            for name in NAMES
            for panel in made(name)["panels"]
            for target in panel.get("targets", ())
            if set(answer(system, target["expr"])) <= {"NaN"}
        }

    with suppress(TimeoutError):
        wait_until(lambda: set(unanswered()) == DID_NOT_HAPPEN, "all answer", seconds=60, pause=2.0)
    assert set(unanswered()) == DID_NOT_HAPPEN


@pytest.mark.parametrize("name", NAMES)
def test_each_dashboard_is_drawn_by_a_browser(name: str, system: System):
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is missing")
    asked = [
        (target["expr"].replace("$__range", "1m").replace("$__rate_interval", "1m"), panel["title"])
        for panel in made(name)["panels"]
        for target in panel.get("targets", ())
    ]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        complaints: list[str] = []
        page.on(
            "response",
            lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None,
        )
        # The page of graphs reads one digit of a graph's number.
        for number, several in enumerate(batched(asked, 8), start=1):
            words = {}
            for n, (expression, _) in enumerate(several):
                words |= {f"g{n}.expr": expression, f"g{n}.tab": "0", f"g{n}.range_input": "15m"}
            page.goto(f"{system.prometheus}/classic/graph?{urlencode(words)}")
            page.wait_for_function(
                "n => [...document.querySelectorAll('.rickshaw_graph')]"
                ".filter((graph) => graph.querySelector('svg path')).length >= n",
                arg=sum(title not in DID_NOT_HAPPEN for _, title in several),
                timeout=60_000,
            )
            page.screenshot(path=SCREENSHOTS / f"{name}-{number}.png", full_page=True)
        browser.close()
    assert not complaints
