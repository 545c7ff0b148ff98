"""faust's way to Kafka, with what faust does not let be set."""

from collections.abc import Mapping
from typing import Any, override

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.transport.drivers import aiokafka as driver

from residua.inner_names import read_committed
from residua.messaging.records.lenient import read_leniently

__all__ = ["seek_to_committed", "use_our_transport"]


def use_our_transport(app: faust.App) -> None:
    """Let the app read as all our consumers do, see `residua.messaging.client.consumer`.

    faust reads what aborted transactions left, unless it is itself in a transaction.
    """
    read_leniently()
    app.transport = _Transport(app.conf.broker_consumer, app)


async def seek_to_committed(consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, int | None]:
    """Go back, in all partitions a consumer has, to what its group has not done.

    faust throws away what its client reads while a rebalance is under way, and then goes back.
    aiokafka's own `seek_to_committed` leaves a partition of which nothing was committed where it
    is, behind the record that was thrown away: the first arrival in a partition that was just
    added, or of a new group, had no outcome for ever.

    Returns
    -------
    committed
        What was committed, by partition; `None`: nothing, and reading goes on at its beginning.
    """
    committed: dict[TopicPartition, int | None] = await consumer.seek_to_committed()
    begun = [place for place, offset in committed.items() if not offset]
    if begun:
        await consumer.seek_to_beginning(*begun)
    return committed


class _Thread(driver.AIOKafkaConsumerThread):
    @override
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Read when the consumer starts.
        read_committed(consumer)
        return consumer

    @override
    async def seek_to_committed(self) -> Mapping[Any, Any]:
        found: Mapping[Any, Any] = await self.call_thread(
            seek_to_committed, self._ensure_consumer()
        )
        return found


class _Consumer(driver.Consumer):
    @override
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer
