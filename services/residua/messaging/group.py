"""Who else is in a consumer group, and what nobody there reads."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from residua.errors import ResiduaError
from residua.inner_names import group_member_id, join_anew
from residua.messaging.client import METADATA_MAX_AGE_MS, client_options
from residua.messaging.settings import KafkaSettings

__all__ = [
    "SECONDS_BETWEEN_LOOKS",
    "FencedError",
    "Group",
    "GroupMember",
    "NamesakeWatch",
    "OrphanWatch",
    "OtherRunError",
    "client_id_of_run",
    "describe_group",
    "other_run",
    "watch_group",
]

SECONDS_BETWEEN_LOOKS = 5.0
"""How often a service looks into its group."""

_PREFIX = "residua-worker@"


class OtherRunError(ResiduaError):
    """The consumer group has members of another run: each would get a part of the arrivals."""

    responsible = "operator"


class FencedError(ResiduaError):
    """Another process is a member under the same instance id: they put each other out for ever."""

    responsible = "operator"


@dataclass(frozen=True)
class GroupMember:
    """A member as the broker describes it.

    Parameters
    ----------
    member_id
        Made by the broker; of a static member it begins with its instance id.
    client_id
        What the member calls itself.
    host
        Where it connects from.
    assigned
        Partitions that are its own.
    """

    member_id: str
    client_id: str
    host: str
    assigned: frozenset[TopicPartition] = frozenset()


@dataclass(frozen=True)
class Group:
    """A group as the broker describes it; without members where the broker does not say.

    Parameters
    ----------
    is_stable
        Whether every member has been told what is its own, and none is awaited.
    """

    members: tuple[GroupMember, ...] = ()
    is_stable: bool = False


def client_id_of_run(run: str) -> str:
    """Client id of a worker: it tells all members of the group which run it makes."""
    return f"{_PREFIX}{run}"


async def describe_group(settings: KafkaSettings, group: str) -> Group:
    """Look into a group; empty where the broker does not say (no right to, no such request)."""
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=10_000)
    try:
        await admin.start()
        [answer] = await admin.describe_consumer_groups([group])
    except (KafkaError, OSError):
        return Group()
    finally:
        await admin.close()
    for _code, _group, state, kind, _protocol, members, *_ in answer.groups:
        return Group(
            tuple(
                GroupMember(member_id, client_id, host.lstrip("/"), _assigned(kind, assignment))
                for member_id, client_id, host, _metadata, assignment, *_ in members
            ),
            state == "Stable",
        )
    return Group()


def _assigned(kind: str, assignment: bytes) -> frozenset[TopicPartition]:
    # Nothing before the first assignment; groups of other kinds have a form of their own.
    if kind != "consumer" or not assignment:
        return frozenset()
    return frozenset(ConsumerProtocolMemberAssignment.decode(assignment).partitions())


def other_run(members: Iterable[GroupMember], run: str) -> GroupMember | None:
    """Return a member that makes another run, if there is one."""
    ours = client_id_of_run(run)
    for member in members:
        if member.client_id.startswith(_PREFIX) and member.client_id != ours:
            return member
    return None


async def watch_group(
    settings: KafkaSettings,
    group: str,
    instance_id: str,
    client: AIOKafkaConsumer,
    topics: Sequence[str],
) -> None:
    """Look every few seconds into the group a consumer is in under a name, until cancelled.

    Parameters
    ----------
    client
        The consumer.
    topics
        What it has subscribed to.

    Raises
    ------
    FencedError
        There is another process with our instance id.
    """
    namesake, orphans = NamesakeWatch(instance_id), OrphanWatch(lambda: join_anew(client))
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        there = await describe_group(settings, group)
        namesake.look(there.members, group_member_id(client))
        orphans.look(
            there,
            [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in client.partitions_for_topic(topic) or ()
            ],
        )


@dataclass
class OrphanWatch:
    """Finds out that a settled group has partitions of nobody, and joins it anew.

    The member that leads a group looks after the number of partitions. When it starts again under
    its instance id the broker gives it its place back and does not tell it that it leads: until
    the next rebalance nobody sees partitions that were added, and what is sent there waits. When
    it asks to join anew it is told, and gives out all partitions; of any other member the broker
    takes no notice.

    Parameters
    ----------
    join_anew
        Asks to join.
    seconds
        How long partitions may be nobody's: more than a leader takes to see them. Doubles with
        each time that joining did not help.
    """

    join_anew: Callable[[], None]
    seconds: float = METADATA_MAX_AGE_MS / 1000.0 + SECONDS_BETWEEN_LOOKS
    _since: float | None = None
    _times: int = 0

    def look(
        self, group: Group, partitions: Collection[TopicPartition], now: float | None = None
    ) -> None:
        """Take in who has what.

        Parameters
        ----------
        partitions
            All that the group should read.
        now
            Seconds of `time.monotonic`.
        """
        now = time.monotonic() if now is None else now
        if not group.is_stable:
            self._since = None
            return
        orphans = sorted(set(partitions).difference(*(m.assigned for m in group.members)))
        if not orphans:
            self._since, self._times = None, 0
        elif self._since is None:
            self._since = now
        elif now - self._since >= self.seconds * 2**self._times:
            structlog.get_logger(__name__).warning(
                "partitions_of_nobody",
                partitions=[f"{topic}/{number}" for topic, number in orphans[:20]],
                number=len(orphans),
                seconds=round(now - self._since),
                members=len(group.members),
            )
            self._since, self._times = None, self._times + 1
            self.join_anew()


@dataclass
class NamesakeWatch:
    """Finds out that another process has the same static instance id.

    Such two put each other out of the group about once a second, each under a new member id.
    The process before ours left one such id behind, and one more may be ours before we know it.

    Parameters
    ----------
    instance_id
        Ours.
    seconds
        How long a foreign member id counts.
    """

    instance_id: str
    seconds: float = 120.0
    _ours: set[str] = field(default_factory=set)
    _foreign: dict[str, float] = field(default_factory=dict)

    def look(
        self, members: Sequence[GroupMember], member_id: str, now: float | None = None
    ) -> None:
        """Take in who is there.

        Parameters
        ----------
        member_id
            Ours, empty while we have none.
        now
            Seconds of `time.monotonic`.

        Raises
        ------
        FencedError
            There is another process.
        """
        now = time.monotonic() if now is None else now
        self._ours.add(member_id)
        for member in members:
            if member.member_id.startswith(f"{self.instance_id}-"):
                self._foreign.setdefault(member.member_id, now)
        self._foreign = {
            name: seen
            for name, seen in self._foreign.items()
            if name not in self._ours and now - seen < self.seconds
        }
        if len(self._foreign) > 2:
            hosts = sorted({m.host for m in members if m.member_id in self._foreign})
            raise FencedError(
                f"another process is in the group as {self.instance_id!r}"
                f"{' on ' + ', '.join(hosts) if hosts else ''}: each puts the other out, and none "
                "works. Give every replica its own RESIDUA_INSTANCE_ID, and end the other one"
            )
