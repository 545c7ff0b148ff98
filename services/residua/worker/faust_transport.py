"""faust's way to Kafka, with what faust does not let be set."""

from typing import Any, override

import faust
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver

from residua.inner_names import read_committed
from residua.messaging.records.lenient import read_leniently

__all__ = ["use_our_transport"]


def use_our_transport(app: faust.App) -> None:
    """Let the app read as all our consumers do, see `residua.messaging.client.consumer`.

    faust reads what aborted transactions left, unless it is itself in a transaction.
    """
    read_leniently()
    app.transport = _Transport(app.conf.broker_consumer, app)


class _Thread(driver.AIOKafkaConsumerThread):
    @override
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Read when the consumer starts.
        read_committed(consumer)
        return consumer


class _Consumer(driver.Consumer):
    @override
    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer
