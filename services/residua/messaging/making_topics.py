"""Making the topics that are missing, and letting the broker stamp arrivals."""

from collections.abc import Sequence

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from residua.inner_names import has_controller
from residua.messaging.client import MAX_DEAD_LETTER_BYTES, client_options, reaching
from residua.messaging.settings import KafkaSettings
from residua_schemas import DEAD_LETTERS, TOPICS, Topic

__all__ = ["create_topics"]

_STAMPS = "message.timestamp.type"
_SET_FOR_THE_TOPIC = 1
_log = structlog.get_logger(__name__)


async def create_topics(
    settings: KafkaSettings,
    *,
    partitions: int = 32,
    replication: int = 1,
    topics: Sequence[Topic] = TOPICS,
) -> None:
    """Create the topics that are missing; those that are there stay as they are.

    But for one thing: the order of arrivals is that of the broker's stamps, so that topics of
    releases before 1.3 are told to stamp. A broker that refuses it is named in a warning.

    Raises
    ------
    aiokafka.errors.KafkaError
        The broker refused one, or cannot be reached.
    """
    wanted = [
        NewTopic(
            settings.topic_name(topic),
            num_partitions=partitions,
            replication_factor=replication,
            topic_configs=_topic_config(topic),
        )
        for topic in topics
    ]
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        async with reaching(settings):
            await admin.start()
        if not has_controller(admin):
            # The embedded broker: it makes a topic when somebody asks for it.
            await admin.describe_topics([topic.name for topic in wanted])
            return
        response = await admin.create_topics(wanted)
        there = {
            n for n, code, *_ in response.topic_errors if code == TopicAlreadyExistsError.errno
        }
        for topic in topics:
            name = settings.topic_name(topic)
            if topic.append_time and name in there:
                await _let_stamp(admin, name)
    finally:
        await admin.close()
    # The client does not raise what the broker answered for each topic.
    for name, code, *details in response.topic_errors:
        if code not in {0, TopicAlreadyExistsError.errno}:
            raise for_code(code)(f"topic {name}: {details}")


async def _let_stamp(admin: AIOKafkaAdminClient, name: str) -> None:
    """Set ``message.timestamp.type`` of a topic to ``LogAppendTime``, if it is not."""
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        [(code, message, _, _, entries)] = answer.resources
        if code:
            raise for_code(code)(message)
        if any(entry[:2] == (_STAMPS, "LogAppendTime") for entry in entries):
            return
        # This request replaces all that was set for the topic: what was goes with it.
        own = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_FOR_THE_TOPIC}
        changed = ConfigResource(ConfigResourceType.TOPIC, name, {**own, _STAMPS: "LogAppendTime"})
        [answer] = await admin.alter_configs([changed])
        [(code, message, *_)] = answer.resources
        if code:
            raise for_code(code)(message)
    except KafkaError as e:
        _log.warning(
            "arrivals_not_stamped",
            topic=name,
            reason=f"{type(e).__name__}: {e}",
            remedy=f"set {_STAMPS}=LogAppendTime, to order arrivals of different partitions",
        )
    else:
        _log.info("arrivals_stamped_from_now", topic=name)


def _topic_config(topic: Topic) -> dict[str, str]:
    if topic == DEAD_LETTERS:
        return {**topic.config, "max.message.bytes": str(MAX_DEAD_LETTER_BYTES)}
    return topic.config
