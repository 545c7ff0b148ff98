"""Settings of everything that speaks to Kafka."""

from pathlib import Path

from pydantic import Field

from residua.messaging.security import KafkaSecurity
from residua.settings import ServiceSettings
from residua_schemas import Topic

__all__ = ["ConsumerSettings", "KafkaSettings"]


class KafkaSettings(ServiceSettings, KafkaSecurity):
    """How to reach Kafka."""

    kafka_bootstrap: str = Field(
        "127.0.0.1:9092", description="host:port of brokers, separated by commas."
    )
    topic_prefix: str = Field("", description="Prefix of every topic name, for shared brokers.")

    def topic_name(self, topic: Topic) -> str:
        """Name of a topic on this broker."""
        return f"{self.topic_prefix}{topic.name}"


class ConsumerSettings(KafkaSettings):
    """What all services that consume events have."""

    create_topics: bool = Field(True, description="Create missing topics at the start.")
    topic_partitions: int = Field(
        32,
        ge=1,
        description="Partitions of topics made here: the most workers that share the arrivals.",
    )
    topic_replication: int = Field(1, ge=1, description="Replicas of topics made here.")
    heartbeat_seconds: float = Field(
        10.0, gt=0, description="Seconds between two events on the topic heartbeats."
    )
    heartbeat_file: Path | None = Field(
        None, description="File whose modification time is the sign of life."
    )
