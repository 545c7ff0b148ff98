"""What the client passed over is found, and nothing else is taken for it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from residua.worker.reading_on import LOOKS, PassedOverError, ReadingOn


class Topic:
    """A partition in which only some offsets hold records."""

    def __init__(self, *records):
        self.records = records
        self.asked = 0

    async def first(self, _partition, begin):
        self.asked += 1
        return min((r for r in self.records if r >= begin), default=None)


def look(reading, times, *, begin=3, end=7, busy=False, growing=0):
    async def go():
        for n in range(times):
            await reading.look({0: (begin, end + growing * n)}, busy=busy)

    asyncio.run(go())


def test_a_gap_without_records_is_none():
    topic = Topic(2, 5)
    asyncio.run(ReadingOn("arrivals", topic.first).across(0, 3, 5))
    # One question a gap: a producer in transactions leaves one after each of them.
    assert topic.asked == 1


def test_a_gap_that_could_not_be_looked_into_is_told_of():
    topic = Topic()
    with capture_logs() as logs:
        asyncio.run(ReadingOn("arrivals", topic.first).across(0, 3, 5))
    [line] = logs
    assert line["event"] == "gap_not_looked_into"
    assert (line["partition"], line["begin"], line["end"]) == (0, 3, 5)
    assert topic.asked == 6


def test_a_record_that_was_passed_over_is_found_before_the_next_is_handled():
    with pytest.raises(PassedOverError, match="arrivals/0: the client brought offset 5, and 4 "):
        asyncio.run(ReadingOn("arrivals", Topic(2, 4, 5).first).across(0, 3, 5))


def test_a_broker_that_is_slow_is_asked_again():
    topic = Topic(4, 5)
    slow = iter([None, None])

    async def first(partition, begin):
        return next(slow, await topic.first(partition, begin))

    with pytest.raises(PassedOverError):
        asyncio.run(ReadingOn("arrivals", first).across(0, 3, 5))


def test_what_waits_while_nothing_happens_ends_the_worker():
    reading = ReadingOn("arrivals", Topic(4).first)
    look(reading, LOOKS)
    with pytest.raises(PassedOverError, match="offset 4 waits"):
        look(reading, 1)


def test_more_that_comes_meanwhile_is_no_sign_of_life():
    reading = ReadingOn("arrivals", Topic(4).first)
    with pytest.raises(PassedOverError):
        look(reading, LOOKS + 1, growing=1)


@pytest.mark.parametrize("sign", [{"busy": True}, {"begin": 4}, {"begin": 7}])
def test_any_sign_of_life_begins_the_count_anew(sign):
    reading = ReadingOn("arrivals", Topic(5).first)
    for _ in range(5):
        look(reading, LOOKS - 1)
        look(reading, 1, **sign)


def test_what_transactions_left_at_an_end_is_looked_into_once():
    topic = Topic()
    reading = ReadingOn("arrivals", topic.first)
    look(reading, 10 * LOOKS)
    assert topic.asked == 1
    # Until there is more.
    topic.records = (7,)
    with pytest.raises(PassedOverError):
        look(reading, LOOKS + 1, end=8)
