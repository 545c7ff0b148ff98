"""The plain Kafka tools, on the embedded broker and on Apache Kafka."""

import asyncio

import pytest
from aiokafka import TopicPartition
from confluent_kafka.admin import ConfigResource, NewTopic
from tests.support.kafka_tools import arrival
from tests.support.librdkafka import administrating

from residua.messaging.client import (
    OutgoingRecord,
    event_record,
    first_record_reader,
    read_to_end,
    send,
    topic_partitions,
)
from residua.messaging.making_topics import create_topics
from residua.messaging.records import lenient
from residua.messaging.records.events import IncomingRecord, parse_event
from residua.messaging.retention import first_readable
from residua.messaging.settings import KafkaSettings
from residua_schemas import TEMPLATE_COADDS, VISIT_ARRIVALS, VisitArrival


async def read(settings, topic, **options):
    return [r async for r in read_to_end(settings, settings.topic_name(topic), **options)]


def test_topics_are_made_once_and_read_in_order_to_their_end(broker_settings):
    async def scenario():
        for _ in range(2):
            await create_topics(broker_settings, partitions=4)
        topic = broker_settings.topic_name(VISIT_ARRIVALS)
        assert await read(broker_settings, VISIT_ARRIVALS) == []
        sent = [OutgoingRecord(topic, b"one key", str(n).encode()) for n in range(50)]
        assert await send(broker_settings, sent) == 50
        found = await read(broker_settings, VISIT_ARRIVALS)
        assert [r.value for r in found] == [r.value for r in sent]
        [partition] = {r.partition for r in found}
        rest = await read(broker_settings, VISIT_ARRIVALS, offsets={partition: 45})
        assert [r.offset for r in rest] == [45, 46, 47, 48, 49]
        assert await read(broker_settings, TEMPLATE_COADDS) == []

    asyncio.run(scenario())


def test_an_event_survives_the_wire_with_its_headers(broker_settings):
    async def scenario():
        await create_topics(broker_settings, partitions=1)
        event = arrival(12, "x=1")
        topic = broker_settings.topic_name(VISIT_ARRIVALS)
        record = event_record(topic, event, event.visit_detector.key, source="/test")
        await send(broker_settings, [record, OutgoingRecord(topic, b"gone", None)])
        return event, record, await read(broker_settings, VISIT_ARRIVALS)

    event, record, found = asyncio.run(scenario())
    by_key = {r.key: r for r in found}
    assert by_key[b"gone"].value is None
    r = by_key[event.visit_detector.key]
    assert tuple(r.headers) == record.headers
    incoming = IncomingRecord(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp)
    assert parse_event(incoming, VisitArrival.model_validate_json, "visit arrival") == event


def test_a_record_the_broker_refuses_is_told_to_the_sender(broker_settings):
    from aiokafka.errors import MessageSizeTooLargeError

    async def scenario():
        await create_topics(broker_settings, partitions=1)
        topic = broker_settings.topic_name(VISIT_ARRIVALS)
        await send(broker_settings, [OutgoingRecord(topic, b"k", b"x" * 4_000_000)])

    with pytest.raises(MessageSizeTooLargeError):
        asyncio.run(scenario())


def test_a_topic_of_arrivals_from_before_is_told_to_stamp_and_keeps_what_was_set(
    kafka_bootstrap, topic_prefix
):
    settings = KafkaSettings(kafka_bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)
    name = settings.topic_name(VISIT_ARRIVALS)
    old = NewTopic(name, 3, 1, config={"retention.ms": "7200000", "max.message.bytes": "300000"})
    with administrating(kafka_bootstrap) as client:
        client.create_topics([old])[name].result(60)
        for _ in range(2):
            asyncio.run(create_topics(settings, partitions=1, topics=[VISIT_ARRIVALS]))
        found = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)])
        [entries] = [f.result(60) for f in found.values()]
    assert entries["message.timestamp.type"].value == "LogAppendTime"
    assert entries["retention.ms"].value == "7200000"
    assert entries["max.message.bytes"].value == "300000"
    assert entries["cleanup.policy"].is_default


# A worker asks so at every gap between two offsets: producers in transactions leave one each time.
def test_the_first_record_costs_one_batch_whatever_waits(broker_settings, monkeypatch):
    fetched = []

    class Counted(lenient._KeptRecords):
        def __init__(self, data):
            fetched.append(len(data))
            super().__init__(data)

    monkeypatch.setattr(lenient, "_KeptRecords", Counted)
    topic = broker_settings.topic_name(VISIT_ARRIVALS)

    async def scenario():
        await create_topics(broker_settings, partitions=1)
        for _ in range(10):
            # A batch each.
            await send(broker_settings, [OutgoingRecord(topic, b"one key", b"x" * 10_000)])
        async with first_record_reader(broker_settings) as client:
            places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
            [place] = [p for p, end in (await client.end_offsets(places)).items() if end]
            # Again and again, and from the first moment on.
            return [await first_readable(client, place, begin) for begin in [*range(10)] * 2]

    assert asyncio.run(scenario()) == [*range(10)] * 2
    # One more may be on its way when the first is there.
    assert max(fetched) < 11_000
    assert sum(fetched) < 2 * 20 * 11_000
