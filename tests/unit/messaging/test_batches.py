"""The loop of the batch writers, with a client that writes down what it is asked, in order."""

import asyncio

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, MessageSizeTooLargeError

from residua.errors import MalformedEventError
from residua.messaging.batches import bury, consume
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua_schemas import DeadLetter

TOPIC = "p-outcomes"
PLACES = [TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)]


def record(partition, offset, value=b"{}"):
    return ConsumerRecord(
        TOPIC, partition, offset, 1_700_000_000_000, 0, b"key", value, None, 3, len(value), ()
    )


class Client:
    """Consumer and producer: hands out batches, then asks the loop to stop."""

    def __init__(self, batches, stop, *, commits=(), refuses_large=False, committed=0, first=0):
        self._batches = iter(batches)
        self._stop = stop
        self._commits = iter(commits)
        self._refuses_large = refuses_large
        self._committed, self._first = committed, first
        self.read = dict.fromkeys(PLACES, 0)
        self.log = []
        self.letters = []
        self.offsets = []

    def subscribe(self, topics, listener):
        self.listener = listener
        self.log.append(("subscribe", tuple(topics)))

    async def getmany(self, *, timeout_ms, max_records):
        self.asked_for = max_records
        batch = next(self._batches, None)
        if batch is None:
            self._stop.set()
            return {}
        for place, records in batch.items():
            self.read[place] = records[-1].offset + 1
        return batch

    async def commit(self, offsets):
        fault = next(self._commits, None)
        if fault is not None:
            raise fault
        self.log.append(("commit", offsets))

    async def committed(self, place):
        return self._committed

    async def beginning_offsets(self, places):
        return dict.fromkeys(places, self._first)

    def assignment(self):
        return set(PLACES)

    def highwater(self, place):
        return 10 if place.partition == 0 else None

    async def position(self, place):
        return self.read[place]

    async def send_and_wait(self, topic, *, key, value, headers):
        if self._refuses_large and len(value) > 2000:
            raise MessageSizeTooLargeError
        self.letters.append((topic, key, DeadLetter.model_validate_json(value)))
        self.log.append(("letter", topic))


def run(batches, write, metrics=None, **options):
    async def go():
        stop = asyncio.Event()
        client = Client(batches, stop, **options)
        try:
            await asyncio.wait_for(
                consume(
                    client,
                    client,
                    [TOPIC],
                    lambda records: write(client, records),
                    service="catalog",
                    stop=stop,
                    dead_letters="p-dead-letters",
                    batch_records=50,
                    metrics=metrics or Metrics(),
                ),
                30,
            )
        except OSError as e:
            client.raised = e
        return client

    return asyncio.run(go())


def writes(client, records):
    client.log.append(("write", [(r.partition, r.offset) for r in records]))
    return []


def test_offsets_are_committed_after_the_batch_is_written():
    batch = {PLACES[0]: [record(0, 0), record(0, 1)], PLACES[1]: [record(1, 4)]}
    client = run([batch, {PLACES[0]: [record(0, 2)]}], writes)
    assert client.asked_for == 50
    assert client.log == [
        ("subscribe", (TOPIC,)),
        ("write", [(0, 0), (0, 1), (1, 4)]),
        ("commit", {PLACES[0]: 2, PLACES[1]: 5}),
        ("write", [(0, 2)]),
        ("commit", {PLACES[0]: 3}),
    ]


def test_refused_records_are_in_the_dead_letters_before_the_commit():
    def refuse(client, records):
        writes(client, records)
        return [(records[1], MalformedEventError("no outcome", problems=1))]

    metrics = Metrics()
    client = run([{PLACES[0]: [record(0, 0), record(0, 1, b"what")]}], refuse, metrics)
    assert [what for what, _ in client.log] == ["subscribe", "write", "letter", "commit"]
    [(topic, _key, letter)] = client.letters
    assert topic == "p-dead-letters"
    assert (letter.offset, letter.value, letter.service) == (1, b"what", "catalog")
    assert (letter.error, letter.responsible) == ("MalformedEventError", "producer")
    counted = metrics.registry.get_sample_value(
        "residua_dead_letters_total", {"topic": TOPIC, "error": "MalformedEventError"}
    )
    assert counted == 1.0


def test_an_error_of_the_writer_commits_nothing():
    def broken(client, records):
        raise OSError("the database is away")

    client = run([{PLACES[0]: [record(0, 0)]}], broken)
    assert "away" in str(client.raised)
    assert client.log == [("subscribe", (TOPIC,))]


def test_a_refused_commit_goes_on_with_the_next_batch():
    batches = [{PLACES[0]: [record(0, n)]} for n in range(3)]
    client = run(batches, writes, commits=[CommitFailedError("moved"), None])
    assert [offsets for what, offsets in client.log if what == "commit"] == [
        {PLACES[0]: 2},
        {PLACES[0]: 3},
    ]


def test_what_retention_removed_is_counted_once():
    metrics = Metrics()
    batches = [{PLACES[0]: [record(0, 30)]}, {PLACES[0]: [record(0, 31)]}]
    run(batches, writes, metrics, committed=12, first=30)
    lost = metrics.registry.get_sample_value("residua_lost_to_retention_total", {"topic": TOPIC})
    assert lost == 18.0


def test_the_backlog_is_what_the_client_knows():
    metrics = Metrics()
    run([{PLACES[0]: [record(0, 0), record(0, 1)]}], writes, metrics)
    assert metrics.registry.get_sample_value("residua_lag", {"topic": TOPIC}) == 8.0


def test_partitions_are_given_away_after_the_batch_in_hand():
    async def go():
        stop, entered, released = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        client = Client([{PLACES[0]: [record(0, 0)]}], stop)

        def slow(records):
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result(20)
            return writes(client, records)

        options = {"service": "s", "stop": stop, "dead_letters": "d", "batch_records": 5}
        work = asyncio.ensure_future(
            consume(client, client, [TOPIC], slow, metrics=Metrics(), **options)
        )
        await asyncio.wait_for(entered.wait(), 20)
        revoked = asyncio.ensure_future(client.listener.on_partitions_revoked(set(PLACES)))
        await asyncio.sleep(0.05)
        assert not revoked.done()
        released.set()
        await asyncio.wait_for(revoked, 20)
        assert client.log[-1] == ("commit", {PLACES[0]: 1})
        await work

    asyncio.run(go())


@pytest.mark.parametrize("size", [10, 5000])
def test_a_letter_too_large_for_the_broker_keeps_the_place_alone(size):
    async def go():
        client = Client([], asyncio.Event(), refuses_large=True)
        large = IncomingRecord(TOPIC, 1, 9, b"key", b"x" * size, 0, (("h", b"v"),))
        await bury(client, "d", [(large, MalformedEventError("bad"))], Metrics(), "catalog")
        return client.letters

    [(_topic, _key, letter)] = asyncio.run(go())
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, 1, 9)
    assert (letter.value is None) is (size > 2000)
    assert ("too large" in letter.message) is (size > 2000)
