"""Start the bridge."""

import asyncio

from aiokafka import AIOKafkaProducer

from residua.bridge.bridging import BridgeWriter
from residua.bridge.settings import BridgeSettings
from residua.errors import ResiduaError
from residua.instruments import InstrumentRegistry
from residua.messaging.batches import BatchWriter
from residua.messaging.client import blocking_send
from residua.messaging.records.schema_registry import SchemaRegistry
from residua.messaging.service import GroupMember, run_batches
from residua.metrics import Metrics
from residua.telemetry import configure_logging
from residua_schemas import DIFFERENCE_IMAGES

__all__ = ["NothingToBridgeError", "main", "run_bridge"]


class NothingToBridgeError(ResiduaError):
    """The settings ask for nothing, or for Avro without a registry."""

    responsible = "operator"


def main() -> None:
    """Run the bridge with settings from the environment."""
    run_bridge(BridgeSettings())


def run_bridge(settings: BridgeSettings) -> None:
    """Turn the observatory's messages into announcements, and outcomes into Avro, until SIGTERM.

    Raises
    ------
    NothingToBridgeError
        See there.
    residua.errors.TransientError, aiokafka.errors.KafkaError
        A component does not answer; a new start takes up where this one stopped.
    """
    configure_logging(settings, "bridge")
    topics = [settings.summit_topic] if settings.summit_topic else []
    if settings.outcomes_avro_topic:
        if settings.schema_registry_url is None:
            raise NothingToBridgeError(
                "RESIDUA_OUTCOMES_AVRO_TOPIC needs RESIDUA_SCHEMA_REGISTRY_URL"
            )
        topics.append(settings.topic_name(DIFFERENCE_IMAGES))
    if not topics:
        raise NothingToBridgeError(
            "give RESIDUA_SUMMIT_TOPIC, or RESIDUA_OUTCOMES_AVRO_TOPIC, or both"
        )
    registry = None
    if settings.schema_registry_url is not None:
        registry = SchemaRegistry(settings.schema_registry_url)
    instruments = InstrumentRegistry(settings.instrument_directories)

    def writer(sender: AIOKafkaProducer, metrics: Metrics) -> BatchWriter:
        return BridgeWriter(settings, instruments, registry, blocking_send(sender), metrics)

    asyncio.run(
        run_batches(
            settings,
            GroupMember(
                settings.bridge_group, settings.bridge_instance_id, settings.bridge_session_timeout
            ),
            topics,
            writer,
            service="bridge",
            batch_records=settings.bridge_batch,
        )
    )
