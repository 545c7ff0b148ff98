"""What a service stands on, as metrics: how long topics are kept, how full its disks are."""

import asyncio
import math
from collections.abc import Mapping, Sequence

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from residua.inner_names import has_controller
from residua.messaging.client import client_options
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics

__all__ = ["read_retention", "show_surroundings"]

_LOOK_SECONDS = 60.0
_RETENTION = "retention.ms"


async def show_surroundings(
    settings: KafkaSettings,
    topics: Sequence[str],
    places: Mapping[str, str],
    metrics: Metrics,
    seconds: float = _LOOK_SECONDS,
) -> None:
    """Look every so many seconds until cancelled; brokers that do not answer are asked again.

    Parameters
    ----------
    topics
        Full names of what the service reads, and of which it may lose something to retention.
    places
        Local directories by their label.
    """
    log = structlog.get_logger(__name__)
    while True:
        for place, directory in places.items():
            # A file system that hangs must not hold the loop, and with it the place in the group.
            await asyncio.to_thread(metrics.disk, place, directory)
        try:
            for topic, kept in (await read_retention(settings, topics)).items():
                metrics.retention(topic, kept)
        except (KafkaError, OSError) as e:
            log.info("retention_unknown", error=repr(e)[:200])
        await asyncio.sleep(seconds)


async def read_retention(settings: KafkaSettings, topics: Sequence[str]) -> dict[str, float]:
    """Return for how many seconds records are kept, by topic; compacted topics are left out.

    A broker that does not say (the embedded one) or may not (no right to describe) is passed over.

    Raises
    ------
    aiokafka.errors.KafkaError
        The brokers do not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        if not has_controller(admin):
            return {}
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        answers = await admin.describe_configs(asked)
    finally:
        await admin.close()
    found = {}
    for answer in answers:
        for code, _, _, topic, entries in answer.resources:
            said = {entry[0]: entry[1] for entry in entries} if not code else {}
            if _RETENTION in said and said.get("cleanup.policy") != "compact":
                kept = int(said[_RETENTION])
                found[topic] = math.inf if kept < 0 else kept / 1000.0
    return found
