"""Records that end Kafka clients: compressed, undecodable, of aborted transactions, out of time.

Each goes through worker, catalog consumer and tools as real processes. On the embedded broker,
and with ``-m slow`` on Apache Kafka, which alone knows transactions and topic-level compression.
"""

import asyncio
import json
import uuid

import pytest
from aiokafka.errors import KafkaError
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from tests.support.kafka_tools import arrival, arrival_record
from tests.support.librdkafka import administrating, producing, transaction
from tests.support.raw_records import RawRecord, raw_batch, send_raw
from typer.testing import CliRunner

from residua.cli.main import app
from residua.messaging.client import OutgoingRecord
from residua_schemas import (
    DIFFERENCE_IMAGES,
    TEMPLATE_COADDS,
    VISIT_ARRIVALS,
    TemplateCoadd,
)
from residua_schemas.examples import examples

pytestmark = pytest.mark.timeout(1200)
on_both = pytest.mark.parametrize(
    "broker_settings",
    ["embedded", pytest.param("apache", marks=pytest.mark.slow)],
    indirect=True,
)
on_apache = pytest.mark.parametrize("broker_settings", ["apache"], indirect=True)

CODECS = ("gzip", "snappy", "lz4", "zstd")


def produce(settings, codec, records, **options):
    """Send with librdkafka, as most producers do that compress."""
    bootstrap = settings.kafka_bootstrap
    with producing(bootstrap, compression_type=codec, linger_ms=20) as client:
        for r in records:
            client.produce(r.topic, key=r.key, value=r.value, headers=list(r.headers), **options)


def command(delivery, monkeypatch, *arguments):
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", delivery.settings.topic_prefix)
    monkeypatch.setenv("RESIDUA_KAFKA_BOOTSTRAP", delivery.settings.kafka_bootstrap)
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@on_both
def test_every_codec_is_read_by_every_service_and_tool(delivery, monkeypatch):
    settings = delivery.settings
    for n, codec in enumerate(CODECS):
        visits = range(10 * n, 10 * n + 3)
        produce(settings, codec, [arrival_record(settings, arrival(v)) for v in visits])
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    delivery.wait(lambda a: len(a.rows) == 12, alive=[worker, catalog])
    # The catalog's topics too: an outcome again, a template anew, in each codec.
    outcome = delivery.account().outcomes[0].model_dump_json(exclude_none=True).encode()
    topics = [settings.topic_name(t) for t in (DIFFERENCE_IMAGES, TEMPLATE_COADDS)]
    for n, codec in enumerate(CODECS):
        template = examples()[TemplateCoadd].model_copy(
            update={"patch": n, "template_set": "default", "dataset_id": uuid.uuid4()}
        )
        value = template.model_dump_json().encode()
        produce(
            settings,
            codec,
            [
                OutgoingRecord(topics[0], b"again", outcome),
                OutgoingRecord(topics[1], template.key, value),
            ],
        )
    delivery.wait(lambda _: delivery.catalog_lag() == 0, alive=[worker, catalog])
    # A worker that starts now reads the compressed templates, and serves.
    delivery.send([arrival(99)])
    worker.stop()
    worker = delivery.start_worker()
    account = delivery.wait(lambda a: a.visits[99] == 1, alive=[worker, catalog])
    assert account.dead_letters == ()
    summary = command(delivery, monkeypatch, "status")
    assert (summary["arrivals"], summary["created"], summary["templates"]) == (13, 13, 4)
    plan = command(delivery, monkeypatch, "replay", "--all", "--force", "--dry-run")
    assert plan["selected"] == 13


@on_both
def test_what_cannot_be_decoded_is_buried_by_its_place(delivery, monkeypatch):
    settings = delivery.settings
    topic = settings.topic_name(VISIT_ARRIVALS)
    odd = arrival_record(settings, arrival(2))
    headers = ((b"\xff\xfe\x80bad", b"1"),)
    batches = [
        raw_batch([_raw(settings, 1)]),
        raw_batch([RawRecord(odd.value, odd.key, headers), _raw(settings, 3)]),
        raw_batch([_raw(settings, 4)], payload=b"\x10\0\0"),
        raw_batch([_raw(settings, 5)], codec=4),
        raw_batch([_raw(settings, 6)]),
    ]
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    accepted = [_taken(settings, topic, batch) for batch in batches]
    account = delivery.wait(
        lambda a: len(a.outcomes) == 4 and len(a.dead_letters) == sum(accepted) - 3,
        alive=[worker, catalog],
    )
    # The record with the odd header name is whole but for that name: it is served.
    assert set(account.visits) == {1, 2, 3, 6}
    assert {d.error for d in account.dead_letters} <= {"UnreadableRecordError"}
    assert {d.offset for d in account.dead_letters} <= {3, 4}
    lines = [json.loads(line[line.index("{") :]) for line in worker.text().splitlines() if line]
    alarms = [line for line in lines if line["event"] == "unreadable_record"]
    assert len(alarms) == len(account.dead_letters)
    assert all(a["level"] == "error" and topic in a["message"] for a in alarms)
    # A second start does not meet them again, and the catalog's topic may hold them too.
    worker.stop()
    worker = delivery.start_worker()
    outcomes = settings.topic_name(DIFFERENCE_IMAGES)
    damaged = _taken(settings, outcomes, raw_batch([RawRecord(b"{}")], codec=4))
    delivery.send([arrival(7)])
    account = delivery.wait(
        lambda a: a.visits[7] == 1 and len(a.rows) == 5 and delivery.catalog_lag() == 0,
        alive=[worker, catalog],
    )
    assert len(account.dead_letters) == sum(accepted) - 3 + damaged
    assert command(delivery, monkeypatch, "status")["created"] == 5


def _raw(settings, visit):
    record = arrival_record(settings, arrival(visit))
    return RawRecord(record.value, record.key)


def _taken(settings, topic, batch):
    # Apache Kafka checks what it takes; the embedded broker takes anything.
    try:
        asyncio.run(send_raw(settings, topic, 0, batch))
    except KafkaError:
        return False
    return True


@on_both
def test_a_time_in_microseconds_is_served(delivery, request):
    settings = delivery.settings
    topic = settings.topic_name(VISIT_ARRIVALS)
    if request.node.callspec.params["broker_settings"] == "apache":
        _allow_any_time(settings, topic)
    records = [arrival_record(settings, arrival(1)), OutgoingRecord(topic, b"k", b"no JSON")]
    produce(settings, "none", records, timestamp=1_795_387_024_877_000)
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    account = delivery.wait(
        lambda a: len(a.rows) == len(a.dead_letters) == 1, alive=[worker, catalog]
    )
    assert set(account.visits) == {1}


def _allow_any_time(settings, topic):
    entry = ConfigEntry(
        "message.timestamp.after.max.ms",
        str(2**63 - 1),
        incremental_operation=AlterConfigOpType.SET,
    )
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    with administrating(settings.kafka_bootstrap) as admin:
        for done in admin.incremental_alter_configs([resource]).values():
            done.exception(30)


@pytest.mark.slow
@on_apache
def test_aborted_transactions_are_not_processed(delivery, monkeypatch):
    settings = delivery.settings
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    delivery.send([arrival(1)])
    for visit, commit in ((2, False), (3, True)):
        name = uuid.uuid4().hex
        with transaction(settings.kafka_bootstrap, name, commit=commit) as client:
            r = arrival_record(settings, arrival(visit))
            client.produce(r.topic, key=r.key, value=r.value)
    delivery.send([arrival(4)])
    account = delivery.wait(lambda a: len(a.rows) == 3, alive=[worker, catalog])
    assert set(account.visits) == {1, 3, 4}
    assert command(delivery, monkeypatch, "status")["arrivals"] == 3
    # Of templates too, whose topic then ends with the mark of the transaction, and no record.
    becomes = {}
    for visit, commit in ((5, False), (6, True)):
        template = examples()[TemplateCoadd].model_copy(
            update={"band": "r", "template_set": "default", "patch": visit}
        )
        with transaction(settings.kafka_bootstrap, uuid.uuid4().hex, commit=commit) as client:
            topic = settings.topic_name(TEMPLATE_COADDS)
            client.produce(topic, key=template.key, value=template.model_dump_json().encode())
        delivery.send([arrival(visit, "template")])
        account = delivery.wait(lambda a, v=visit: a.visits[v] == 1, alive=[worker, catalog])
        becomes |= {o.visit_detector.visit: o.outcome for o in account.outcomes}
    assert (becomes[5], becomes[6]) == ("skipped", "created")
    assert command(delivery, monkeypatch, "status")["templates"] == 1


@pytest.mark.slow
@on_apache
@pytest.mark.parametrize("codec", CODECS)
def test_a_topic_may_impose_its_codec(delivery, codec):
    settings = delivery.settings
    entry = ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)
    names = [settings.topic_name(topic) for topic in (VISIT_ARRIVALS, DIFFERENCE_IMAGES)]
    kind = ConfigResource.Type.TOPIC
    with administrating(settings.kafka_bootstrap) as admin:
        for name in names:
            resource = ConfigResource(kind, name, incremental_configs=[entry])
            for done in admin.incremental_alter_configs([resource]).values():
                done.result(30)
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    delivery.send(arrival(v) for v in range(5))
    account = delivery.wait(lambda a: len(a.rows) == 5, alive=[worker, catalog])
    assert len(account.outcomes) == 5
