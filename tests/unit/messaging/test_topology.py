"""Newest by event, gaps of retention, and who is in the group."""

import asyncio
import itertools

import pytest
from aiokafka import TopicPartition

from residua.messaging.group import (
    FencedError,
    Group,
    GroupMember,
    NamesakeWatch,
    OrphanWatch,
    client_id_of_run,
    other_run,
)
from residua.messaging.records.events import IncomingRecord
from residua.messaging.records.newest import NewestByKey
from residua.messaging.retention import LostRecords
from residua.metrics import Metrics


def record(partition, offset, time, value=b"x"):
    return IncomingRecord("t", partition, offset, b"k", value, time)


# One key's history: two partitions after the topic grew, and back, and a tombstone.
HISTORY = {
    0: [record(0, 3, 100), record(0, 4, 150)],
    1: [record(1, 0, 200), record(1, 1, 250, None)],
    2: [record(2, 0, 300)],
}


def in_force(order):
    newest, last = NewestByKey(), None
    for partition in order:
        for r in HISTORY[partition]:
            if newest.take(b"k", r):
                last = r
    return last


@pytest.mark.parametrize("order", list(itertools.permutations(HISTORY)))
def test_the_order_in_which_partitions_are_read_decides_nothing(order):
    assert in_force(order) == HISTORY[2][0]
    assert in_force([p for p in order if p != 2]).value is None


def test_within_a_partition_the_later_offset_is_newer_whatever_its_time():
    newest = NewestByKey()
    assert newest.take(b"k", record(0, 1, 500))
    assert newest.take(b"k", record(0, 2, 100))
    assert newest.take(b"other", record(1, 0, 1))


class Broker:
    """Committed and first offset of one partition."""

    def __init__(self, committed, first):
        self.committed, self.first, self.asked = committed, first, 0
        self.metrics = Metrics()
        self.lost = LostRecords("t", "g", self.offsets, self.metrics)

    async def offsets(self, partition):
        self.asked += 1
        return self.committed, self.first

    def counted(self):
        return self.metrics.registry.get_sample_value(
            "residua_lost_to_retention_total", {"topic": "t"}
        )


def test_what_retention_took_is_counted_once():
    broker = Broker(committed=3, first=8)

    async def read():
        await broker.lost.note(0, 8)
        await broker.lost.look(0)
        await broker.lost.note(0, 9)

    asyncio.run(read())
    assert broker.counted() == 5
    # Records that follow each other cost no question.
    assert broker.asked == 2


def test_it_is_told_also_when_nothing_is_left_to_read():
    broker = Broker(committed=3, first=8)
    assert asyncio.run(broker.lost.look(0)) == 8
    assert broker.counted() == 5
    broker.first = 10
    assert asyncio.run(broker.lost.look(0)) == 10
    assert broker.counted() == 7


@pytest.mark.parametrize(("committed", "first", "offset"), [(None, 8, 8), (5, 0, 5), (5, 2, 9)])
def test_no_gap_no_alarm(committed, first, offset):
    # Nothing was committed; all is there; a gap that transactions leave.
    broker = Broker(committed, first)
    asyncio.run(broker.lost.note(0, offset))
    assert broker.counted() is None


@pytest.mark.parametrize(
    ("committed", "first", "expected", "offset", "begin"),
    [
        (None, 0, None, 0, 0),
        (None, 0, None, 1, 0),
        (None, 8, None, 8, 8),
        (5, 0, None, 6, 5),
        (5, 7, None, 7, 7),
        # Handled here and not committed yet; handled by others meanwhile; brought once more.
        (5, 0, 6, 8, 6),
        (7, 0, 6, 8, 7),
        (5, 0, 9, 5, 5),
    ],
)
def test_what_is_not_known_to_be_done_begins_after_all_that_is(
    committed, first, expected, offset, begin
):
    broker = Broker(committed, first)
    if expected is not None:
        broker.lost.passed(0, expected - 1)
    assert asyncio.run(broker.lost.note(0, offset)) == begin


def member(name, run="r"):
    return GroupMember(name, client_id_of_run(run), "10.0.0.7")


def test_a_member_of_another_run_is_found_and_strangers_are_not():
    others = [member("a"), GroupMember("b", "faust-1", "h"), member("c", "s")]
    assert other_run(others, "r") == others[2]
    assert other_run(others[:2], "r") is None


def test_a_namesake_is_told_from_our_own_restart():
    watch = NamesakeWatch("w-0")
    # The process before ours, then ours before we know it, then ours.
    watch.look([member("w-0-aa"), member("w-1-zz")], "", now=0.0)
    watch.look([member("w-0-bb")], "", now=5.0)
    watch.look([member("w-0-bb")], "w-0-bb", now=10.0)
    watch.look([member("w-0-cc")], "w-0-bb", now=15.0)
    with pytest.raises(FencedError, match=r"as 'w-0' on 10\.0\.0\.7.*RESIDUA_INSTANCE_ID"):
        watch.look([member("w-0-dd")], "w-0-bb", now=20.0)


def test_restarts_hours_apart_are_no_namesake():
    watch = NamesakeWatch("w-0")
    for n in range(20):
        watch.look([member(f"w-0-{n}")], "w-0-mine", now=100.0 * n)


PARTITIONS = [TopicPartition("t", n) for n in range(4)]


def group(*assigned, is_stable=True):
    members = [GroupMember(f"w-{n}", "c", "h", frozenset(own)) for n, own in enumerate(assigned)]
    return Group(tuple(members), is_stable)


def looks(there, times, partitions=PARTITIONS):
    joined, now = [], 0.0
    watch = OrphanWatch(lambda: joined.append(now), seconds=15.0)
    for now in times:
        watch.look(there(now) if callable(there) else there, partitions, now)
    return joined


def test_a_group_in_which_all_partitions_are_somebodys_is_left_alone():
    assert looks(group(PARTITIONS[:2], PARTITIONS[2:]), range(0, 300, 5)) == []
    # Nor one that cannot be looked into, nor one that reads more than was asked.
    assert looks(Group(), range(0, 300, 5)) == []
    assert looks(group(PARTITIONS), range(0, 300, 5), PARTITIONS[:1]) == []


def test_partitions_of_nobody_let_the_member_join_anew_with_growing_pauses():
    # At first after more time than a leader takes to see them; then a new look, and twice it.
    assert looks(group(PARTITIONS[:2], PARTITIONS[2:3]), range(0, 200, 5)) == [15, 50, 115]


def test_a_group_that_is_not_settled_is_waited_for():
    assert looks(group(PARTITIONS[:1], is_stable=False), range(0, 300, 5)) == []
    joining = lambda now: group(PARTITIONS[:1], is_stable=now % 15 != 0)  # noqa: E731
    assert looks(joining, range(0, 300, 5)) == []


def test_after_it_helped_the_pause_is_the_first_again():
    helped = lambda now: group(PARTITIONS[: 4 if now in {20, 60} else 3])  # noqa: E731
    assert looks(helped, range(0, 100, 5)) == [15, 40, 80]
