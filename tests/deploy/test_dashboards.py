"""Grafana's dashboards: as the tables say, and every question gets an answer from our metrics."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml
from deploy.grafana import dashboards
from tests.support.servers.server_process import free_ports

from residua.access.metrics import RequestMetrics
from residua.access.settings import AccessSettings
from residua.bridge.bridging import BridgeWriter
from residua.bridge.settings import BridgeSettings
from residua.instruments import InstrumentRegistry
from residua.metrics import METRICS, Metrics
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.settings import NotificationSettings
from residua.settings import ServiceSettings
from residua.telemetry.stages import Stage

REPOSITORY = Path(__file__).parents[2]
NAMES = list(dashboards.DASHBOARDS)
OWN = {
    "residua_access_request_seconds",
    "residua_access_recreations",
    "residua_notifications",
    "residua_bridge",
}
FROM_PROMETHEUS = {"up", "scrape_duration_seconds"}


def made(name: str) -> dict:
    return json.loads((dashboards.DIRECTORY / f"{name}.json").read_text())


def expressions(name: str) -> list[str]:
    return [t["expr"] for panel in made(name)["panels"] for t in panel.get("targets", ())]


def asked(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', "", expression)
    names = set(re.findall(r"\b(?:residua_\w+|up\b|scrape_\w+)", bare))
    return {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names}


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_as_the_tables_say(name: str):
    assert (dashboards.DIRECTORY / f"{name}.json").read_text() == dashboards.text(name)
    assert {p.stem for p in dashboards.DIRECTORY.glob("*")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_panels_fit_and_say_what_they_are_for(name: str):
    panels, taken = made(name)["panels"], set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"]) for i in range(at["w"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
        assert len(panel["description"]) > 10
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_every_page_of_the_runbook_that_a_panel_names_exists():
    headings = re.findall(r"^## (.+)$", (REPOSITORY / "docs/runbook.md").read_text(), re.MULTILINE)
    anchors = {h.lower().replace(" ", "-").replace(",", "") for h in headings}
    named = {a for n in NAMES for a in re.findall(r"runbook\.md#([\w-]+)", json.dumps(made(n)))}
    assert len(named) > 4
    assert named <= anchors


def test_every_metric_is_on_a_dashboard_and_none_that_does_not_exist():
    shown = {metric for name in NAMES for e in expressions(name) for metric in asked(e)}
    assert shown == {*METRICS, *OWN, *FROM_PROMETHEUS}


def test_compose_and_provisioning_agree():
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    mounted = dict(v.split(":")[:2] for v in compose["services"]["grafana"]["volumes"])
    provisioning = REPOSITORY / "deploy" / "grafana" / "provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards/residua.yaml").read_text())["providers"]
    assert mounted["./deploy/helm/residua/files/dashboards"] == provider["options"]["path"]
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())
    for source in sources["datasources"]:
        host = re.fullmatch(r"http://(\w+):\d+", source["url"]).group(1)
        assert host in compose["services"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[str]:
    """A Prometheus that scrapes services which count; yields its address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus on the PATH (Debian's package prometheus has it)")
    directory = tmp_path_factory.mktemp("prometheus")
    services = _services()
    [port] = free_ports(1)
    job = {"job_name": "residua", "static_configs": [{"targets": list(services)}]}
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    process = subprocess.Popen(
        [
            program,
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(directory / "log").open("wb"),
    )
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.5):
            for metrics in services.values():
                _count(metrics)

    working = threading.Thread(target=work, daemon=True)
    working.start()
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        ended.set()
        working.join()
        process.terminate()
        process.wait(30)


def _wait_until_it_answers(address: str) -> None:
    deadline = time.monotonic() + 60.0
    while True:
        try:
            with urlopen(f"{address}/-/ready", timeout=10):
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _services() -> dict[str, Metrics | RequestMetrics]:
    found: dict[str, Metrics | RequestMetrics] = {}
    *ports, last = free_ports(6)
    names = ("worker", "catalog", "butler", "notifications", "bridge")
    for name, port in zip(names, ports, strict=True):
        metrics = Metrics()
        if name == "notifications":
            NotificationAdapter(NotificationSettings(), None, None, metrics)._count("arrival")
        if name == "bridge":
            settings = BridgeSettings()
            writer = BridgeWriter(settings, InstrumentRegistry(), None, None, metrics)
            writer._counter.labels("announced").inc()
        run = "residua/0/dp1/3f2a9c51d0be" if name == "worker" else None
        metrics.serve(ServiceSettings(metrics_port=port), name, run)
        found[f"127.0.0.1:{port}"] = metrics
    requests = RequestMetrics()
    requests.serve(AccessSettings(catalog_url="sqlite://", metrics_port=last))
    return {**found, f"127.0.0.1:{last}": requests}


def _count(metrics: Metrics | RequestMetrics) -> None:
    if isinstance(metrics, RequestMetrics):
        metrics.observe("/sia/query", 200, 0.1)
        metrics.observe("/tap/sync", 503, 0.2)
        metrics.recreated("made")
        return
    now = time.time() * 1000.0
    metrics.beat()
    metrics.heartbeat_taken()
    metrics.stages([Stage("subtract", now / 1000.0, 1.2)])
    metrics.outcome("created", instrument="LSSTComCam", band="r")
    metrics.outcome(
        "failed", "CorruptFileError", responsible="producer", instrument="LSSTComCam", band="r"
    )
    metrics.outcome("skipped", "no_template", instrument="LSSTComCam", band="r", replay=True)
    metrics.quality(
        "r",
        sky_noise=1.01,
        pull=1.0,
        detections=40,
        coverage=1.0,
        psf_fwhm=0.9,
        limiting_magnitude=24.1,
        star_residual=0.01,
    )
    metrics.since_exposure(datetime.now(UTC).replace(tzinfo=None))
    metrics.dead_letter("visit-arrivals", "MalformedEventError")
    metrics.lost_to_retention("visit-arrivals", 1)
    metrics.retry("TransientError")
    metrics.backlog("visit-arrivals", 3, int(now - 5000))
    metrics.batch([int(now - 1000)], 0.1)
    metrics.rows_changed(2)
    metrics.templates(16)
    metrics.next_visit("planned")
    metrics.recreation("made")
    metrics.templates_read_ahead(read=1)
    metrics.template_reads(store=1, memory=2)
    metrics.in_hand(1)
    metrics.expect(["visit-arrivals"])
    metrics.arrival("LSSTComCam", replay=False)
    metrics.arrivals_in([datetime.now(UTC)])
    metrics.template_lookup(0.0002)
    metrics.cost(4.2)
    metrics.store_wait(0.0)
    metrics.disk("output", "/")
    metrics.retention("visit-arrivals", 7 * 86400.0)
    metrics.verified({"identical": 20, "different": 0})
    metrics.handled(taken=time.monotonic() - 1.0, timestamp_ms=int(now - 2000))


def _answer(address: str, expression: str) -> list[str]:
    asked_now = expression.replace("$__range", "1m").replace("$__rate_interval", "30s")
    with urlopen(f"{address}/api/v1/query?query={quote(asked_now)}", timeout=10) as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    return [series["value"][1] for series in answer["data"]["result"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_an_answer(name: str, prometheus: str):
    waiting = expressions(name)
    deadline = time.monotonic() + 60.0
    while waiting and time.monotonic() < deadline:
        waiting = [e for e in waiting if set(_answer(prometheus, e)) <= {"NaN"}]
        time.sleep(0.5 if waiting else 0.0)
    assert not waiting


def test_a_legend_names_labels_that_the_answer_has():
    for name in NAMES:
        for panel in made(name)["panels"]:
            for target in panel.get("targets", ()):
                by = re.findall(r"by \(([^)]*)\)", target["expr"])
                known = {label.strip() for labels in by for label in labels.split(",")}
                named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                assert named <= known, panel["title"]
