"""Each backing service is killed in turn, and the right alert comes and goes.

Prometheus scrapes real services and answers the alerts' own expressions; their windows of minutes
are as many times two seconds here, their thresholds are as they stand.
"""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml
from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.apache_kafka import kafka_missing, running_kafka
from tests.support.servers.postgres import postgres_missing, running_postgres
from tests.support.servers.s3 import running_s3, s3_missing
from tests.support.servers.server_process import free_ports, wait_until
from tests.support.service_process import ServiceProcess

from residua.messaging.settings import KafkaSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
RULES = {
    r["alert"]: r["expr"] for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]
}
MINUTES = {"2m": "4s", "10m": "20s", "15m": "30s", "30m": "60s", "1h": "120s"}


def expression(alert: str) -> str:
    shorter = re.sub(r"\[(\w+)\]", lambda window: f"[{MINUTES[window[1]]}]", RULES[alert])
    return re.sub(r"offset (\w+)", lambda window: f"offset {MINUTES[window[1]]}", shorter)


class Running:
    """Worker, catalog and access service, started again when they end; and who asks them."""

    def __init__(
        self, delivery: Delivery, directory: Path, prometheus: str, access_url: str
    ) -> None:
        self._launch: dict[str, Callable[[], ServiceProcess]] = {}
        self._processes: dict[str, ServiceProcess] = {}
        self._ended = threading.Event()
        *ports, self._page, self._port = free_ports(5)
        self.ports = dict(zip(("worker", "catalog", "access"), ports, strict=True))
        self._delivery, self._visits = delivery, count(1)
        patient = {"transient_attempts": 40, "transient_pause": 0.02}
        self._launch["worker"] = lambda: delivery.start_worker(
            metrics_port=self.ports["worker"], heartbeat_seconds=2.0, **patient
        )
        self._launch["catalog"] = lambda: delivery.start_catalog(
            metrics_port=self.ports["catalog"], heartbeat_seconds=2.0
        )
        self._launch["access"] = lambda: delivery._start(
            "access",
            "residua.access",
            {
                "port": self._page,
                "metrics_port": self.ports["access"],
                "catalog_url": access_url,
                "results_directory": directory / "results",
            },
        )
        jobs = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
            for name, port in self.ports.items()
        ]
        job = {"job_name": "residua", "static_configs": jobs}
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [job],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        self._prometheus = subprocess.Popen(
            [
                prometheus,
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=(directory / "prometheus.log").open("wb"),
        )
        self._threads = [
            threading.Thread(target=loop, daemon=True)
            for loop in (self._supervise, self._ask, self._send)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        for process in self._processes.values():
            process.kill()
        self._prometheus.terminate()
        self._prometheus.wait(60)

    def firing(self, alert: str) -> set[str]:
        """Instances (or other labels) for which an alert's expression is true now."""
        address = f"http://127.0.0.1:{self._port}/api/v1/query?query={quote(expression(alert))}"
        with urlopen(address, timeout=10) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return {str(series["metric"]) for series in answer["data"]["result"]}

    def _supervise(self) -> None:
        while not self._ended.wait(0.5):
            for name, launch in self._launch.items():
                process = self._processes.get(name)
                if process is None or process.exit_code is not None:
                    self._processes[name] = launch()

    def _ask(self) -> None:
        query = "LANG=ADQL&QUERY=SELECT+TOP+1+*+FROM+ivoa.ObsCore"
        while not self._ended.wait(0.3):
            with (
                suppress(OSError),
                urlopen(f"http://127.0.0.1:{self._page}/tap/sync?{query}", timeout=10) as answer,
            ):
                answer.read()

    def _send(self) -> None:
        while not self._ended.wait(1.0):
            with suppress(Exception):
                self._delivery.send([arrival(next(self._visits))])


@pytest.fixture(scope="module")
def prometheus() -> str:
    program = shutil.which("prometheus")
    missing = kafka_missing() or postgres_missing("pg_sphere") or s3_missing()
    if program is None or missing:
        pytest.skip(missing or "no prometheus on the PATH (Debian's package prometheus has it)")
    return program


def test_the_right_alert_comes_and_goes_for_each_backing_service(prometheus: str, tmp_path: Path):
    with ExitStack() as stack:
        kafka = stack.enter_context(running_kafka())
        store = stack.enter_context(running_s3("difference-images"))
        database = stack.enter_context(running_postgres())
        url = database.create_database("residua_alerts", ["pg_sphere"])
        settings = KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix="alerts-")
        delivery = stack.enter_context(
            Delivery(settings, tmp_path, s3=store, catalog_url=url, fresh=True)
        )
        running = stack.enter_context(Running(delivery, tmp_path, prometheus, url))

        def is_quiet() -> bool:
            with suppress(OSError):
                return not any(running.firing(alert) for alert in watched) and bool(
                    delivery.account().rows
                )
            return False

        watched = (
            "ResiduaStoreSilent",
            "ResiduaServiceDown",
            "ResiduaAccessErrors",
            "ResiduaNoHeartbeat",
            "ResiduaNoSignOfLife",
        )
        wait_until(is_quiet, "all is well", seconds=240, pause=1.0)

        def goes_wrong(kill: Callable[[], object], heal: Callable[[], object], *expected: str):
            kill()
            seen: dict[str, set[str]] = {}

            def all_fire() -> bool:
                for alert in watched:
                    seen.setdefault(alert, set()).update(running.firing(alert))
                return all(seen[alert] for alert in expected)

            try:
                wait_until(all_fire, f"{expected} fire", seconds=240, pause=1.0)
            finally:
                heal()
            wait_until(is_quiet, f"all is well after {expected}", seconds=300, pause=1.0)
            return seen

        seen = goes_wrong(store.kill, store.start, "ResiduaStoreSilent")
        assert not seen["ResiduaNoHeartbeat"]
        seen = goes_wrong(
            database.kill, database.start, "ResiduaServiceDown", "ResiduaAccessErrors"
        )
        assert any("'catalog'" in labels for labels in seen["ResiduaServiceDown"])
        seen = goes_wrong(kafka.kill, kafka.start, "ResiduaNoHeartbeat")
        assert any("'worker'" in labels for labels in seen["ResiduaNoHeartbeat"])
