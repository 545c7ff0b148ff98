"""The parts of a whole Residua, watched as in operation, and a night's work for it."""

import asyncio
import json
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
from pathlib import Path
from typing import Any, override
from urllib.parse import quote
from urllib.request import urlopen

import yaml
from sqlalchemy import NullPool, create_engine, text
from tests.support.demo_run import SCRIPT
from tests.support.servers.s3 import S3Server
from tests.support.servers.server_process import free_ports, wait_until
from tests.support.span_collector import SpanCollector

from residua.demo.inputs import DemoInputs
from residua.messaging.client import OutgoingRecord, event_record, send
from residua.messaging.settings import KafkaSettings

# A shell's background job ignores Ctrl-C, and hands that down.
MINDFUL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


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

    def rows(self, query: str) -> list[tuple[Any, ...]]:
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
    @override
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
