"""What changes under running services: partitions, retention, topics, groups; on Apache Kafka."""

import asyncio
import json
import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions
from tests.support.kafka_tools import Delivery, arrival, arrival_record
from tests.support.librdkafka import administrating, producing
from tests.support.servers.server_process import wait_until
from typer.testing import CliRunner

from residua.cli.main import app
from residua.identity import template_dataset_id
from residua.messaging.client import OutgoingRecord, read_to_end
from residua_schemas import DIFFERENCE_IMAGES, TEMPLATE_COADDS, VISIT_ARRIVALS, TemplateCoadd
from residua_schemas.examples import examples

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.parametrize("broker_settings", ["apache"], indirect=True),
]


@pytest.fixture
def delivery(broker_settings, tmp_path):
    with Delivery(broker_settings, tmp_path, partitions=1) as running:
        yield running


def admin(delivery):
    return administrating(delivery.settings.kafka_bootstrap)


def grow(delivery, topic, number):
    name = delivery.settings.topic_name(topic)
    with admin(delivery) as client:
        [done] = client.create_partitions([NewPartitions(name, number)]).values()
        done.result(30)


def template(settings, patch=1, **changes):
    event = examples()[TemplateCoadd].model_copy(
        update={"template_set": "default", "band": "r", "tract": 1, "patch": patch, **changes}
    )
    event = event.model_copy(update={"dataset_id": template_dataset_id(event.key)})
    value = event.model_dump_json(exclude_none=True).encode()
    return OutgoingRecord(settings.topic_name(TEMPLATE_COADDS), event.key, value)


def in_other_partition(delivery, record, number):
    """Send to the last partition, as a producer of any partitioner may."""
    with producing(delivery.settings.kafka_bootstrap) as client:
        client.produce(record.topic, key=record.key, value=record.value, partition=number - 1)


def outcome_of(delivery, visit, *alive):
    account = delivery.wait(lambda a: a.visits[visit] >= 1, alive=alive, seconds=90)
    return next(o for o in account.outcomes if o.visit_detector.visit == visit)


def events(process):
    lines = [line[line.index("{") :] for line in process.text().splitlines() if "{" in line]
    return [json.loads(line) for line in lines]


def test_templates_in_added_partitions_are_in_force_at_once_and_withdrawn(delivery):
    worker = delivery.start_worker()
    delivery.send([arrival(1, "template")])
    assert outcome_of(delivery, 1, worker).outcome == "skipped"
    grow(delivery, TEMPLATE_COADDS, 5)
    wait_until(lambda: _partitions(delivery, TEMPLATE_COADDS) == 5, "five partitions", seconds=30)
    record = template(delivery.settings)
    in_other_partition(delivery, record, 5)
    delivery.send([arrival(2, "template")])
    assert outcome_of(delivery, 2, worker).outcome == "created"
    in_other_partition(delivery, OutgoingRecord(record.topic, record.key, None), 4)
    delivery.send([arrival(3, "template")])
    assert outcome_of(delivery, 3, worker).outcome == "skipped"
    # A new start reads the partitions in any order, and comes to the same.
    worker.stop()
    worker = delivery.start_worker()
    delivery.send([arrival(4, "template")])
    assert outcome_of(delivery, 4, worker).outcome == "skipped"


def test_added_partitions_of_arrivals_are_served_within_seconds(delivery):
    worker = delivery.start_worker()
    delivery.send([arrival(1)])
    outcome_of(delivery, 1, worker)
    grow(delivery, VISIT_ARRIVALS, 6)
    wait_until(lambda: _partitions(delivery, VISIT_ARRIVALS) == 6, "six partitions", seconds=30)
    began = time.monotonic()
    delivery.send(arrival(v) for v in range(10, 40))
    delivery.wait(lambda a: len(a.outcomes) == 31, alive=[worker], seconds=120)
    # Five minutes was the client's own time.
    assert time.monotonic() - began < 100


# faust throws away what its client reads while a rebalance is under way, and goes back to what was
# committed: in a partition that was just added, nothing is.
@pytest.mark.slow
def test_what_is_read_in_the_middle_of_a_rebalance_comes_again(delivery):
    worker = delivery.start_worker(module="tests.support.slow_joiner")
    delivery.send([arrival(1)])
    outcome_of(delivery, 1, worker)
    grow(delivery, VISIT_ARRIVALS, 4)
    wait_until(lambda: _partitions(delivery, VISIT_ARRIVALS) == 4, "four partitions", seconds=30)
    for visit, partitions in ((2, 2), (3, 3), (4, 4)):
        record = arrival_record(delivery.settings, arrival(visit))
        in_other_partition(delivery, record, partitions)
    account = delivery.wait(lambda a: len(a.outcomes) == 4, alive=[worker], seconds=90)
    assert account.visits == {1: 1, 2: 1, 3: 1, 4: 1}


@pytest.mark.slow
@pytest.mark.parametrize("another", [False, True])
def test_a_worker_whose_client_passed_an_arrival_over_ends_and_says_so(delivery, another):
    worker = delivery.start_worker(module="tests.support.forgetful_joiner")
    delivery.send([arrival(1)])
    outcome_of(delivery, 1, worker)
    grow(delivery, VISIT_ARRIVALS, 2)
    wait_until(lambda: _partitions(delivery, VISIT_ARRIVALS) == 2, "two partitions", seconds=30)
    visits = [2, 3] if another else [2]
    for visit in visits:
        in_other_partition(delivery, arrival_record(delivery.settings, arrival(visit)), 2)
    assert worker.wait(120) == 1
    [line] = [e for e in events(worker) if e["event"] == "worker_cannot_go_on"]
    assert line["error"] == "PassedOverError"
    assert ("brought offset 1, and 0" if another else "offset 0 waits") in line["message"]
    assert len(delivery.account().outcomes) == 1
    again = delivery.start_worker()
    for visit in visits:
        assert outcome_of(delivery, visit, again).outcome == "created"


# The broker gives a named member its place back without a word to it that it leads: nobody in the
# group then looks after the number of partitions.
@pytest.mark.slow
def test_partitions_added_while_the_workers_leader_is_away_are_served(delivery):
    instance = f"{delivery.settings.topic_prefix}worker"
    first = delivery.start_worker("first", instance_id=instance, session_timeout=60)
    delivery.send([arrival(1)])
    assert outcome_of(delivery, 1, first).outcome == "created"
    first.kill()
    grow(delivery, VISIT_ARRIVALS, 2)
    again = delivery.start_worker("again", instance_id=instance, session_timeout=60)
    in_other_partition(delivery, arrival_record(delivery.settings, arrival(2)), 2)
    assert outcome_of(delivery, 2, again).outcome == "created"
    [told] = [e for e in events(again) if e["event"] == "partitions_of_nobody"]
    assert told["partitions"] == [f"{delivery.settings.topic_name(VISIT_ARRIVALS)}/1"]


@pytest.mark.slow
def test_partitions_added_after_the_catalogs_restart_are_read(delivery):
    worker = delivery.start_worker()
    sessions = {"catalog_session_timeout": 60, "catalog_instance_id": "one"}
    first = delivery.start_catalog("first", **sessions)
    delivery.send([arrival(1)])
    delivery.wait(lambda a: len(a.rows) == 1, alive=[worker, first], seconds=90)
    first.stop()
    again = delivery.start_catalog("again", **sessions)
    delivery.send([arrival(2)])
    delivery.wait(lambda a: len(a.rows) == 2, alive=[worker, again], seconds=90)
    grow(delivery, DIFFERENCE_IMAGES, 4)
    wait_until(lambda: _partitions(delivery, DIFFERENCE_IMAGES) == 4, "four", seconds=30)
    # A worker that was there before learns of them late.
    worker.stop()
    worker = delivery.start_worker("worker again")
    delivery.send(arrival(v) for v in range(3, 30))
    delivery.wait(lambda a: len(a.rows) == 29, alive=[worker, again], seconds=90)
    [told] = [e for e in events(again) if e["event"] == "partitions_of_nobody"]
    assert told["number"] == 3


def test_arrivals_that_retention_took_are_counted_and_shown(delivery, monkeypatch):
    worker = delivery.start_worker()
    delivery.send(arrival(v) for v in range(3))
    delivery.wait(lambda a: len(a.outcomes) == 3, alive=[worker])
    worker.stop()
    delivery.send(arrival(v) for v in range(10, 20))
    topic = delivery.settings.topic_name(VISIT_ARRIVALS)
    # What retention does, and nothing else.
    with admin(delivery) as client:
        [done] = client.delete_records([TopicPartition(topic, 0, 8)]).values()
        done.result(60)
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", delivery.settings.topic_prefix)
    monkeypatch.setenv("RESIDUA_CONSUMER_GROUP", f"{delivery.settings.topic_prefix}worker")
    command = ["status", "--json", "--bootstrap", delivery.settings.kafka_bootstrap]
    shown = CliRunner().invoke(app, command)
    assert json.loads(shown.stdout)["lost_to_retention"] == 5
    worker = delivery.start_worker()
    delivery.wait(lambda a: len(a.outcomes) == 8, alive=[worker])
    [alarm] = [e for e in events(worker) if e["event"] == "records_lost_to_retention"]
    assert (alarm["level"], alarm["committed"], alarm["first"], alarm["lost"]) == ("error", 3, 8, 5)


@pytest.mark.slow
def test_a_topic_made_anew_is_read_from_its_start(delivery):
    worker = delivery.start_worker()
    delivery.send(arrival(v) for v in range(5))
    delivery.wait(lambda a: len(a.outcomes) == 5, alive=[worker])
    topic = delivery.settings.topic_name(VISIT_ARRIVALS)
    with admin(delivery) as client:
        [done] = client.delete_topics([topic]).values()
        done.result(60)
    time.sleep(2)
    delivery.__enter__()
    wait_until(lambda: _partitions(delivery, VISIT_ARRIVALS) == 1, "the topic", seconds=30)
    delivery.send([arrival(50)])
    deadline = time.monotonic() + 120
    while delivery.account().visits[50] == 0:
        assert time.monotonic() < deadline, worker.text()[-2000:]
        if worker.exit_code is not None:
            assert "TopicMadeAnewError" in worker.text()
            worker = delivery.start_worker()
        time.sleep(0.5)


# Compaction leaves gaps, and in the end tombstones alone.
@pytest.mark.slow
def test_templates_of_a_compacted_topic_are_withdrawn_and_stay_so(delivery):
    topic = delivery.settings.topic_name(TEMPLATE_COADDS)
    soon = {
        "cleanup.policy": "compact",
        "segment.ms": "500",
        "min.cleanable.dirty.ratio": "0.0",
        "delete.retention.ms": "100",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "1000",
    }
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in soon.items()
    ]
    kind = ConfigResource.Type.TOPIC
    with admin(delivery) as client:
        resource = ConfigResource(kind, topic, incremental_configs=entries)
        for done in client.incremental_alter_configs([resource]).values():
            done.result(30)
    worker = delivery.start_worker()
    templates = [template(delivery.settings, patch) for patch in range(4)]
    for _ in range(4):
        delivery.send(templates)
        time.sleep(0.7)
    delivery.send([arrival(1, "template")])
    assert outcome_of(delivery, 1, worker).outcome == "created"
    delivery.send(OutgoingRecord(topic, one.key, None) for one in templates)
    time.sleep(1.5)
    # Another segment, so that those before it may be compacted.
    delivery.send([OutgoingRecord(topic, b"another", None)])

    def left():
        return len(asyncio.run(_records(delivery.settings, topic)))

    wait_until(lambda: left() < 12, "the topic is compacted", seconds=90, pause=2.0)
    delivery.send([arrival(2, "template")])
    assert outcome_of(delivery, 2, worker).outcome == "skipped"
    worker.stop()
    again = delivery.start_worker("again")
    delivery.send([arrival(3, "template")])
    assert outcome_of(delivery, 3, again).outcome == "skipped"


async def _records(settings, topic):
    return [record async for record in read_to_end(settings, topic)]


@pytest.mark.slow
def test_templates_of_a_topic_made_anew_are_read_anew(delivery):
    delivery.send([template(delivery.settings, patch) for patch in (1, 2)])
    worker = delivery.start_worker()
    delivery.send([arrival(1, "template")])
    assert outcome_of(delivery, 1, worker).outcome == "created"
    topic = delivery.settings.topic_name(TEMPLATE_COADDS)
    with admin(delivery) as client:
        [done] = client.delete_topics([topic]).values()
        done.result(60)
    time.sleep(2)
    delivery.__enter__()
    wait_until(lambda: _partitions(delivery, TEMPLATE_COADDS) == 1, "the topic", seconds=30)
    delivery.send([arrival(2, "template")])
    assert outcome_of(delivery, 2, worker).outcome == "skipped"
    delivery.send([template(delivery.settings), arrival(3, "template")])
    assert outcome_of(delivery, 3, worker).outcome == "created"


def test_two_runs_do_not_share_a_group(delivery):
    first = delivery.start_worker("a")
    delivery.send([arrival(1)])
    first_run = outcome_of(delivery, 1, first).run
    other = delivery.start_worker("b", template_set="newset", other_run_patience=2)
    assert other.wait(120) == 1
    [line] = [e for e in events(other) if e["event"] == "worker_cannot_go_on"]
    assert line["error"] == "OtherRunError"
    assert "RESIDUA_CONSUMER_GROUP" in line["message"]
    assert any(e["event"] == "waiting_for_other_run" for e in events(other))
    assert "Traceback" not in other.text()
    # One that waits long enough takes over when the last of the old has gone.
    patient = delivery.start_worker("d", template_set="newset")
    first.stop()
    delivery.send([arrival(3)])
    account = delivery.wait(lambda a: a.visits[3] == 1, alive=[patient])
    assert next(o.run for o in account.outcomes if o.visit_detector.visit == 3) != first_run
    patient.stop()
    first = delivery.start_worker("a")
    own = delivery.start_worker("c", template_set="newset", consumer_group="another")
    delivery.send([arrival(2)])
    account = delivery.wait(lambda a: a.visits[2] == 2, alive=[first, own])
    assert len({o.run for o in account.outcomes}) == 2


@pytest.mark.slow
def test_two_processes_with_one_instance_id_end_and_say_why(delivery):
    twins = [delivery.start_worker(n, instance_id="twin") for n in "ab"]
    delivery.send(arrival(v) for v in range(5))
    wait_until(lambda: any(t.exit_code is not None for t in twins), "one of them ends", seconds=240)
    ended = next(t for t in twins if t.exit_code is not None)
    assert ended.exit_code != 0
    [line] = [e for e in events(ended) if e["event"] == "worker_cannot_go_on"]
    assert line["error"] == "FencedError"
    assert "'twin'" in line["message"]


def _partitions(delivery, topic):
    name = delivery.settings.topic_name(topic)
    with admin(delivery) as client:
        return len(client.list_topics(name, timeout=10).topics[name].partitions)
