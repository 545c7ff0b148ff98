"""The pool of one: a child that dies or hangs is replaced, and its call tried once more."""

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager

import psutil
import pytest
import structlog
from tests.support.kafka_tools import arrival
from tests.support.stand_in import open_stand_in

from residua.errors import SubtractionTimeoutError, TransientError, WorkerCrashError
from residua.metrics import Metrics
from residua.outcomes import failed
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.subtraction_process import SubtractionProcess
from residua_schemas import ArrivalPlace

PLACE = ArrivalPlace(append_time_ms=0, partition=0, offset=0)
LATER = ArrivalPlace(append_time_ms=0, partition=0, offset=1)


def kept(failure):
    return failure.model_copy(update={"place": PLACE})


@pytest.fixture
def settings(tmp_path):
    return WorkerSettings(
        output_root=str(tmp_path),
        start_timeout=120,
        subtraction_timeout=1,
        first_subtraction_timeout=60,
    )


def open_and_say(settings):
    structlog.get_logger("child").warning("opened")
    return open_stand_in(settings)


def test_the_log_of_a_child_is_its_worker_s(settings, capfd):
    async def scenario():
        pool = SubtractionProcess(open_and_say, settings, Metrics())
        try:
            await pool.start()
        finally:
            pool.close()

    asyncio.run(scenario())
    out, err = capfd.readouterr()
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [(x["event"], x["service"]) for x in lines] == [("opened", "worker")]
    assert "opened" not in out


def test_a_child_lives_through_many_calls_and_is_replaced_when_it_dies(settings):
    async def scenario():
        pool = SubtractionProcess(open_stand_in, settings, Metrics())
        try:
            pool.begin()
            [begun] = pool._executor._processes
            first = await pool.start()
            assert first == begun
            assert (await pool.run(arrival(1), (), PLACE)).outcome.outcome == "created"
            assert await pool.start() == first
            # Dead between two calls: the next call is not charged with it.
            os.kill(first, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(first)], timeout=10)
            with pytest.raises(WorkerCrashError, match="2 times"):
                await pool.run(arrival(2, "crash"), (), PLACE)
            # Dead during a call: tried once more.
            assert (await pool.run(arrival(3, "crash&once"), (), PLACE)).kind == "outcome"
            assert (await pool.run(arrival(4, "raise"), (), PLACE)).kind == "error"
            # A hanging child is killed.
            with pytest.raises(SubtractionTimeoutError) as caught:
                await pool.run(arrival(5, "hang"), (), PLACE)
            assert caught.value.numbers == {"timeout": 1.0, "attempts": 2}
            assert (await pool.run(arrival(6), (), PLACE)).kind == "outcome"
            last = await pool.start()
        finally:
            pool.close()
        for _ in range(100):
            if not psutil.pid_exists(last) or psutil.Process(last).status() == "zombie":
                return
            await asyncio.sleep(0.05)
        pytest.fail("the child outlives the pool")

    asyncio.run(scenario())


@asynccontextmanager
async def opened(settings):
    pool = SubtractionProcess(open_stand_in, settings, Metrics())
    try:
        yield pool
    finally:
        pool.close()


def test_a_failure_that_was_written_down_is_the_answer_from_then_on(settings):
    event = arrival(7, "crash&kill-after-publish")
    failure = failed(event, settings.run.name, WorkerCrashError("died"), "operator")

    async def scenario():
        async with opened(settings) as pool:
            assert (await pool.settle(failure, PLACE)).outcome == kept(failure)
            assert (await pool.run(event, (), PLACE)).outcome == kept(failure)
            # Another revision, another file or another run is another question.
            other = event.model_copy(update={"image_uri": "sim://other"})
            for asked, label in (
                (other, None), (arrival(7, "", revision=1), None), (arrival(7), "again"),
            ):  # fmt: skip
                answer = await pool.run(asked, (), LATER, label)
                assert answer.outcome.outcome == "created", (asked, label)

    asyncio.run(scenario())


def test_a_difference_image_that_is_in_the_store_is_no_failure(settings):
    """Its process was killed after the store had taken the file."""
    event = arrival(9, "crash-after-store")
    failure = failed(event, settings.run.name, WorkerCrashError("died"), "operator")

    async def scenario():
        async with opened(settings) as pool:
            with pytest.raises(WorkerCrashError):
                await pool.run(event, (), PLACE)
            made = await pool.settle(failure, PLACE)
            assert made.outcome.outcome == "created"
            assert (await pool.run(event, (), PLACE)).outcome == made.outcome

    asyncio.run(scenario())


def test_a_failure_that_cannot_be_written_down_is_not_final(settings, tmp_path):
    failure = failed(arrival(8), settings.run.name, WorkerCrashError("died"), "operator")
    (tmp_path / "a-file").touch()
    nowhere = settings.model_copy(update={"output_root": str(tmp_path / "a-file" / "below")})

    async def scenario():
        async with opened(nowhere) as pool:
            with pytest.raises(TransientError, match="cannot be written down"):
                await pool.settle(failure, PLACE)

    asyncio.run(scenario())


def test_waiting_for_a_store_is_not_on_the_subtractions_clock(settings):
    """A store that is slow for longer than a subtraction may take."""

    async def scenario():
        pool = SubtractionProcess(open_stand_in, settings, Metrics())
        try:
            await pool.start()
            # The first call has a longer limit.
            await pool.run(arrival(1), (), PLACE)
            answer = await pool.run(arrival(2, "store-waits=3"), (), PLACE)
            assert answer.outcome.outcome == "created"
            with pytest.raises(SubtractionTimeoutError):
                await pool.run(arrival(3, "sleep=3"), (), PLACE)
        finally:
            pool.close()

    asyncio.run(scenario())


def test_a_store_that_never_answers_is_silent_not_a_slow_subtraction(settings):
    async def scenario():
        limited = settings.model_copy(update={"store_timeout": 1.5})
        pool = SubtractionProcess(open_stand_in, limited, Metrics())
        try:
            answer = await pool.run(arrival(1, "store-waits=60"), (), PLACE)
            assert (answer.kind, answer.outcome) == ("transient", None)
            assert "gave no answer" in answer.message
        finally:
            pool.close()

    asyncio.run(scenario())
