"""A Kafka broker inside this process: librdkafka's mock cluster.

It starts in a tenth of a second and needs no Java: the default of a laptop run and of the fast
tests. aiokafka and faust in any process of this machine produce, consume, join groups and commit
against it. It keeps everything in memory (the newest 5 MB of each partition), has four
partitions a topic, compacts nothing, and its group coordinator is simplified: durability,
rebalance and failover are shown on Apache Kafka.
"""

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from residua_schemas import TOPICS

__all__ = ["PARTITIONS", "EmbeddedBroker"]

_NAMES = tuple(topic.name for topic in TOPICS)

PARTITIONS = 4
"""Partitions of every topic; librdkafka's mock cluster offers no choice."""


class EmbeddedBroker:
    """Context manager; the broker lives as long as the block.

    Parameters
    ----------
    topic_prefix
        Prefix of the topics' names.
    topics
        Names without prefix; by default all of Residua's.

    Examples
    --------
    >>> with EmbeddedBroker() as broker:
    ...     print(broker.bootstrap)  # doctest: +SKIP
    127.0.0.1:43717
    """

    def __init__(self, topic_prefix: str = "", topics: Iterable[str] = _NAMES) -> None:
        self._names = [f"{topic_prefix}{name}" for name in topics]
        self._producer: Producer | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients; empty outside the block."""
        return self._bootstrap

    def __enter__(self) -> Self:
        quiet = logging.getLogger(f"{__name__}.librdkafka")
        quiet.propagate = False
        self._producer = Producer(
            {"test.mock.num.brokers": 1, "bootstrap.servers": "replaced:1"}, logger=quiet
        )
        [broker] = self._producer.list_topics(timeout=10).brokers.values()
        self._bootstrap = f"{broker.host}:{broker.port}"
        for name in self._names:
            # Asking for a topic makes it.
            self._producer.list_topics(name, timeout=10)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The cluster ends with the client that owns it.
        self._producer = None
        self._bootstrap = ""
