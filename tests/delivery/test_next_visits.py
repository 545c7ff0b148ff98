"""Announced visits: templates are in memory when their pixels arrive, and nothing else changes."""

import asyncio
import json
import time
import urllib.request
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families
from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.server_process import free_ports, wait_until
from typer.testing import CliRunner

from residua.cli.main import app
from residua.messaging.client import OutgoingRecord, client_options, event_record
from residua.ports import Observation
from residua.simulation.input_files import write_template, write_visit_image
from residua.simulation.sky import scene, simulate_pair
from residua.storage.describe import describe_template, describe_visit_image
from residua_schemas import NEXT_VISITS, TEMPLATE_COADDS, NextVisit

# Apache Kafka, as an observatory has it; with ``-m slow`` the embedded broker too.
on_apache = pytest.mark.parametrize(
    "broker_settings",
    ["apache", pytest.param("embedded", marks=pytest.mark.slow)],
    indirect=True,
)

BAD = [b"\xff{", b'{"schema_version": "7.0"}', b'{"instrument": "Sim", "band": "r"}', b"", None]


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """A visit image and two template patches as files, and their events."""
    directory = tmp_path_factory.mktemp("sky")
    pair = simulate_pair(replace(scene("deep"), shape=(560, 600), patches=(1, 2)), seed=71)
    visit = directory / "visit.fits"
    observation = Observation("Simulated", 12, 3, 20261122, "r", "r_sim", "Simulated")
    write_visit_image(visit, pair.science, observation)
    templates = []
    for n, patch in enumerate(pair.templates):
        path = directory / f"template_{n}.fits"
        write_template(path, patch, skymap="sim", tract=1, patch=n, band="r")
        templates.append(describe_template(str(path), template_set="default"))
    return directory, describe_visit_image(str(visit)), templates


def counts(port, name):
    """Values of a counter at a worker, by its label; none while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        next(iter(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{name}_total"
    }


def wait_for(worker, port, name, **expected):
    """Wait until the worker has counted this."""

    def reached():
        assert worker.exit_code is None, worker.text()[-3000:]
        found = counts(port, name)
        return all(found.get(label, 0) >= value for label, value in expected.items())

    wait_until(reached, f"{name} {expected}", seconds=400.0, pause=0.2)


def until_both_work(delivery, workers, ports):
    """Send arrivals until each worker has served one: then each partition has one owner."""
    sent = 0
    deadline = time.monotonic() + 400.0
    while time.monotonic() < deadline:
        delivery.send([arrival(1000 + sent + n) for n in range(4)])
        sent += 4
        delivery.wait(lambda a, n=sent: len(a.outcomes) == n, alive=workers)
        if all(counts(port, "residua_outcomes") for port in ports):
            return sent
    raise AssertionError([w.text()[-2000:] for w in workers])


@on_apache
@pytest.mark.timeout(1800)
def test_templates_of_an_announced_visit_are_in_memory_when_it_arrives(delivery, sky, monkeypatch):
    directory, visit, templates = sky
    settings, who = delivery.settings, visit.visit_detector
    topic = settings.topic_name(TEMPLATE_COADDS)
    delivery.send(event_record(topic, t, t.key, source="/test") for t in templates)
    [port] = free_ports(1)
    worker = delivery.start_worker(
        module="residua.worker",
        input_roots=json.dumps([str(directory)]),
        template_roots=json.dumps([str(directory)]),
        metrics_port=port,
    )
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", settings.topic_prefix)
    ra, dec = visit.region.center
    command = ["announce", "--instrument", who.instrument, "--band", "r", "--visit", str(who.visit)]
    command += [
        "--detector",
        str(who.detector),
        "--pointing",
        f"{ra},{dec}",
        "--field",
        "0.05,0.05",
    ]
    done = CliRunner().invoke(app, [*command, "--bootstrap", settings.kafka_bootstrap])
    assert done.exit_code == 0, done.output
    wait_for(worker, port, "residua_templates_read_ahead", read=len(templates))
    assert counts(port, "residua_next_visits") == {"taken": 1}
    assert delivery.account().outcomes == ()

    delivery.send([visit])
    account = delivery.wait(lambda a: a.outcomes, alive=[worker], seconds=600.0)
    [outcome] = account.outcomes
    assert outcome.outcome == "created"
    wait_for(worker, port, "residua_template_reads", ahead=len(templates))
    assert counts(port, "residua_template_reads")["store"] == 0
    assert worker.stop() == 0


@on_apache
@pytest.mark.timeout(1200)
def test_bad_announcements_are_buried_once_and_hold_nothing_up(delivery, request):
    settings = delivery.settings
    topic = settings.topic_name(NEXT_VISITS)
    # The embedded broker's simplified coordinator refuses some joins that meet (InvalidRequest).
    alone = request.node.callspec.params["broker_settings"] == "embedded"
    ports = free_ports(1 if alone else 2)
    workers = [delivery.start_worker(f"w{n}", metrics_port=p) for n, p in enumerate(ports)]
    catalog = delivery.start_catalog()
    before = until_both_work(delivery, workers, ports)
    good = NextVisit(instrument="Sim", band="r", pointing=(10.0, 10.0), field=(1.0, 1.0))
    records = [OutgoingRecord(topic, str(n).encode(), value) for n, value in enumerate(BAD)]
    delivery.send([*records, event_record(topic, good, good.key, source="/test")])
    delivery.send(arrival(v) for v in range(16))
    account = delivery.wait(
        lambda a: len(a.rows) == before + 16 and len(a.dead_letters) >= len(BAD),
        alive=[*workers, catalog],
    )
    for worker, port in zip(workers, ports, strict=True):
        wait_for(worker, port, "residua_next_visits", refused=len(BAD), no_template=1)
    assert {d.value for d in account.dead_letters} == set(BAD)
    assert {(d.topic, d.service) for d in account.dead_letters} == {(topic, "worker")}
    assert account.dead_letter_repeats == account.repeats == account.conflicts == 0
    assert set(account.visits) == {*range(16), *range(1000, 1000 + before)}
    assert [w.stop() for w in workers] == [0] * len(workers)


async def _delete_topic(settings):
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.delete_topics([settings.topic_name(NEXT_VISITS)])
    finally:
        await admin.close()


def test_the_topic_may_be_missing(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path) as delivery:
        asyncio.run(_delete_topic(kafka_settings))
        worker = delivery.start_worker()
        delivery.send(arrival(v) for v in range(8))
        delivery.wait(lambda a: len(a.outcomes) == 8, alive=[worker])
        time.sleep(3.0)
        assert worker.exit_code is None
        assert worker.stop() == 0
