"""Where the worker's client goes on after a rebalance: behind nothing that was not done."""

import asyncio

import pytest
from aiokafka import TopicPartition
from tests.support.kafka_tools import arrival, arrival_record

from residua.messaging.client import consumer, send
from residua.messaging.making_topics import create_topics
from residua.worker.faust_transport import seek_to_committed
from residua_schemas import VISIT_ARRIVALS


@pytest.mark.parametrize("broker_settings", ["apache"], indirect=True)
@pytest.mark.parametrize("done", [0, 1])
def test_what_was_read_and_not_done_is_read_again(broker_settings, done):
    topic = broker_settings.topic_name(VISIT_ARRIVALS)
    place = TopicPartition(topic, 0)

    async def go():
        await create_topics(broker_settings, partitions=1, replication=1)
        await send(broker_settings, [arrival_record(broker_settings, arrival(v)) for v in (1, 2)])
        async with consumer(broker_settings, group_id=f"{topic}-readers") as client:
            client.subscribe([topic])
            read = [await asyncio.wait_for(client.getone(), 60) for _ in range(2)]
            if done:
                await client.commit({place: done})
            committed = await seek_to_committed(client)
            again = await asyncio.wait_for(client.getone(), 60)
        assert [r.offset for r in read] == [0, 1]
        # Nothing was done, or the first alone.
        assert committed == {place: done or None}
        assert again.offset == done

    asyncio.run(go())
