"""The faust application, with every setting the delivery contract rests on."""

from contextlib import suppress
from pathlib import Path

import faust
from faust.exceptions import ConsumerNotStarted

from residua import inner_names
from residua.messaging.client import MAX_DEAD_LETTER_BYTES, METADATA_MAX_AGE_MS
from residua.messaging.security import faust_credentials
from residua.metrics import Metrics
from residua.worker.faust_transport import use_our_transport
from residua.worker.settings import WorkerSettings
from residua.worker.watchdog import SignsOfLife

__all__ = [
    "arrived",
    "group_generation",
    "heartbeat_interval",
    "join_anew",
    "make_app",
    "member_id",
    "owned_partitions",
    "rebalance_timeout",
    "show_backlog",
]

_YEAR = 365 * 86400.0


def rebalance_timeout(settings: WorkerSettings) -> float:
    """Seconds a member may take to finish its record before it must join: the longest handling."""
    return settings.longest_handling + 30.0


def heartbeat_interval(settings: WorkerSettings) -> float:
    """Seconds between two signs of life to the group."""
    return min(3.0, settings.group_session_timeout / 3.0)


def make_app(settings: WorkerSettings, data_directory: Path) -> faust.App:
    """Make the app; nothing is started, and no agent is there yet.

    Parameters
    ----------
    data_directory
        Where faust may keep files; it needs none.
    """
    session = settings.group_session_timeout
    static = {}
    if settings.instance_id is not None:
        static["consumer_group_instance_id"] = settings.instance_id
    app = faust.App(
        settings.consumer_group,
        broker="kafka://" + ";".join(settings.kafka_bootstrap.split(",")),
        broker_credentials=faust_credentials(settings),
        datadir=data_directory,
        store="memory://",
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        # A handler longer than this makes the worker leave its group for ever, in silence; the
        # same happens to a worker without partitions. The watchdog looks after both.
        broker_max_poll_interval=_YEAR,
        broker_session_timeout=session,
        broker_heartbeat_interval=heartbeat_interval(settings),
        broker_rebalance_timeout=rebalance_timeout(settings),
        # The agent commits after each record; faust's own commits, when it reads, come on top.
        broker_commit_every=1,
        broker_commit_interval=1.0,
        broker_max_poll_records=1,
        # Arrivals read and not begun, dropped when partitions go to another member. When the
        # buffer is full faust asks Kafka for nothing and sleeps a whole second, however soon
        # there is room: with room for two, a pause of 100 ms became one of 1.1 s.
        stream_buffer_maxsize=16,
        stream_wait_empty=True,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        broker_client_id=settings.client_id,
        table_standby_replicas=0,
        producer_acks=-1,
        producer_max_request_size=MAX_DEAD_LETTER_BYTES,
        agent_supervisor="mode.CrashingSupervisor",
        **static,
    )
    use_our_transport(app)
    return app


def group_generation(app: faust.App) -> int:
    """Return the generation of the app's group as its consumer knows it; -1 outside the group."""
    try:
        consumer = inner_names.aiokafka_consumer(app)
    except ConsumerNotStarted:
        return -1
    return inner_names.group_generation(consumer)


async def show_backlog(app: faust.App, topic: str, signs: SignsOfLife, metrics: Metrics) -> None:
    """Show what waits in the partitions this worker has, by what its last fetches said."""
    signs.waiting = None
    with suppress(ConsumerNotStarted):
        places = [place for place in app.consumer.assignment() if place.topic == topic]
        # A partition that went away and came back was read on by others meanwhile.
        for gone in set(signs.next_offsets) - {place.partition for place in places}:
            del signs.next_offsets[gone]
        waiting, known = 0, True
        for place in places:
            end = app.consumer.highwater(place)
            done = signs.next_offsets.get(place.partition)
            if done is None:
                done = await app.consumer.position(place)
            known &= end is not None
            if end is not None and done is not None:
                waiting += max(0, end - done)
        signs.waiting = waiting if known else None
        metrics.backlog(topic, waiting, signs.last_handled_ms)


def arrived(app: faust.App, topic: str) -> dict[int, int]:
    """Return, by partition this worker has, an offset below which all was sent before now."""
    try:
        places = [place for place in app.consumer.assignment() if place.topic == topic]
    except ConsumerNotStarted:
        return {}
    ends = {place.partition: app.consumer.highwater(place) for place in places}
    return {partition: end for partition, end in ends.items() if end is not None}


def join_anew(app: faust.App) -> None:
    """Let the app's consumer ask to join its group anew."""
    with suppress(ConsumerNotStarted):
        inner_names.join_anew(inner_names.aiokafka_consumer(app))


def member_id(app: faust.App) -> str:
    """Return the id of the app's consumer in its group; empty outside it."""
    try:
        consumer = inner_names.aiokafka_consumer(app)
    except ConsumerNotStarted:
        return ""
    return inner_names.group_member_id(consumer)


def owned_partitions(app: faust.App, topic: str) -> frozenset[int]:
    """Partitions of a topic the app's consumer has now; none before it has joined its group."""
    try:
        assignment = app.consumer.assignment()
    except ConsumerNotStarted:
        return frozenset()
    return frozenset(place.partition for place in assignment if place.topic == topic)
