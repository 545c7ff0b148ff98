"""Who else is in a consumer group: another run, or another process under our name."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from residua.errors import ResiduaError
from residua.messaging.client import client_options
from residua.messaging.settings import KafkaSettings

__all__ = [
    "SECONDS_BETWEEN_LOOKS",
    "FencedError",
    "GroupMember",
    "NamesakeWatch",
    "OtherRunError",
    "client_id_of_run",
    "group_members",
    "other_run",
    "watch_for_namesake",
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
    """

    member_id: str
    client_id: str
    host: str


def client_id_of_run(run: str) -> str:
    """Client id of a worker: it tells all members of the group which run it makes."""
    return f"{_PREFIX}{run}"


async def group_members(settings: KafkaSettings, group: str) -> tuple[GroupMember, ...]:
    """Members of a group; empty where the broker does not say (no right to, no such request)."""
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=10_000)
    try:
        await admin.start()
        [answer] = await admin.describe_consumer_groups([group])
    except (KafkaError, OSError):
        return ()
    finally:
        await admin.close()
    return tuple(
        GroupMember(member_id, client_id, host.lstrip("/"))
        for _code, _group, _state, _type, _protocol, members, *_ in answer.groups
        for member_id, client_id, host, *_ in members
    )


def other_run(members: Iterable[GroupMember], run: str) -> GroupMember | None:
    """Return a member that makes another run, if there is one."""
    ours = client_id_of_run(run)
    for member in members:
        if member.client_id.startswith(_PREFIX) and member.client_id != ours:
            return member
    return None


async def watch_for_namesake(
    settings: KafkaSettings, group: str, instance_id: str, member_id: Callable[[], str]
) -> None:
    """Look into the group every few seconds until cancelled.

    Parameters
    ----------
    member_id
        Says our id in the group, empty while we have none.

    Raises
    ------
    FencedError
        There is another process with our instance id.
    """
    watch = NamesakeWatch(instance_id)
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        watch.look(await group_members(settings, group), member_id())


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
