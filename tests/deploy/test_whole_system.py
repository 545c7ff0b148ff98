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
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import batched
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
import yaml
from playwright.sync_api import sync_playwright
from sqlalchemy import NullPool, create_engine, text
from tests.deploy.test_dashboards import NAMES, made
from tests.support.demo_run import SCRIPT
from tests.support.servers.apache_kafka import kafka_missing, running_kafka
from tests.support.servers.postgres import postgres_missing, running_postgres
from tests.support.servers.s3 import S3Server, running_s3, s3_missing
from tests.support.servers.server_process import free_ports, wait_until
from tests.support.service_process import ServiceProcess
from tests.support.span_collector import SpanCollector, collecting_spans

from residua.access.page.search import EXAMPLES
from residua.demo.inputs import DemoInputs, simulated_inputs
from residua.messaging.client import OutgoingRecord, event_record, read_to_end, send
from residua.messaging.settings import KafkaSettings
from residua_schemas import NIGHT_SUMMARIES, NightSummary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "dashboards"
# A shell's background job ignores Ctrl-C, and hands that down.
MINDFUL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
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


@dataclass(frozen=True)
class System:
    """What runs, and where it is reached."""

    inputs: DemoInputs
    bootstrap: str
    store: S3Server
    catalog_url: str
    spans: SpanCollector
    prometheus: str
    page: str
    log: Path

    def rows(self, query: str) -> list[tuple]:
        """Ask the catalog's database itself."""
        engine = create_engine(self.catalog_url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()


def ports_in_a_row(number: int) -> int:
    """First of so many free ports."""
    while True:
        [first] = free_ports(1)
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + number):
                held = stack.enter_context(socket.socket())
                held.bind(("127.0.0.1", port))
            return first


def residua(environment: dict[str, str], *arguments: str) -> str:
    """Run a command of ours to its end."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def up(environment: dict[str, str], folder: Path, *arguments: str) -> Iterator[Path]:
    """`residua up` until the end; its output."""
    log = folder / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{MINDFUL}; {SCRIPT}", "up", *arguments],
            cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until(lambda: "Ctrl-C stops" in log.read_text(), "it is up", seconds=240)
        yield log
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(180) == 0
    finally:
        process.kill()
        process.wait()


@contextmanager
def prometheus(program: str, folder: Path, targets: dict[str, int]) -> Iterator[str]:
    """A Prometheus that looks at these ports; its address."""
    [port] = free_ports(1)
    jobs = [
        {"targets": [f"127.0.0.1:{p}"], "labels": {"instance": name}} for name, p in targets.items()
    ]
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "residua", "static_configs": jobs}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "prometheus.log").open("wb"),
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of what is not there yet."""


@contextmanager
def files(folder: Path) -> Iterator[int]:
    """Serve a folder, as the node exporter serves the files of its textfile collector."""
    handler = partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


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


def work(system: System, environment: dict[str, str], verified: Path) -> None:
    """What people and other machines do in a night."""
    arrivals = system.inputs.arrivals
    visits = sorted(Path(system.inputs.input_roots[0]).glob("*.fits"))
    templates = sorted(map(str, Path(system.inputs.template_roots[0]).glob("*.fits")))
    residua(environment, "templates", "register", *templates)
    who = arrivals[0].visit_detector
    residua(
        environment, "announce", "--instrument", who.instrument, "--band", arrivals[0].band,
        "--visit", str(who.visit), "--pointing", "150.1,2.2", "--field", "0.2,0.2",
    )  # fmt: skip
    settings = KafkaSettings(kafka_bootstrap=system.bootstrap)
    asyncio.run(send(settings, [OutgoingRecord("visit-arrivals", b"x", b"no JSON")]))
    # A producer that does not look into its files sends one that is cut short; `residua send` does.
    torn = arrivals[-1]
    key = torn.visit_detector.key
    asyncio.run(send(settings, [event_record("visit-arrivals", torn, key, source="/test")]))
    residua(environment, "send", *(str(v) for v in visits if v != Path(torn.image_uri)))

    def all_are_there() -> bool:
        with suppress(Exception):
            return len(system.rows("SELECT 1 FROM visit_detector")) == len(arrivals)
        return False

    wait_until(all_are_there, "every arrival has its row", seconds=300, pause=1.0)
    residua(environment, "replay", "--all", "--label", "shadow")
    twice = 2 * len(arrivals)
    count = "SELECT 1 FROM visit_detector"
    wait_until(lambda: len(system.rows(count)) == twice, "all replayed", seconds=300, pause=1.0)
    file = str(verified / "metrics")
    residua(
        environment
        | {
            "RESIDUA_INPUT_ROOTS": json.dumps(list(system.inputs.input_roots)),
            "RESIDUA_TEMPLATE_ROOTS": json.dumps(list(system.inputs.template_roots)),
            "RESIDUA_OUTPUT_ROOT": "s3://images/night",
        },
        "verify", "--catalog", system.catalog_url, "--sample", "2", "--metrics-file", file,
    )  # fmt: skip
    # A counter's first value is no increase: it is asked for some seconds.
    for _ in range(8):
        for query in ("SELECT TOP 1 * FROM ivoa.ObsCore", "SELECT * FROM nothing"):
            with suppress(OSError):
                urlopen(f"{system.page}/tap/sync?LANG=ADQL&QUERY={quote(query)}", timeout=30).read()
        time.sleep(1.0)


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
