"""The handler without Kafka: same record in, same record out, and what is retried."""

import asyncio
import itertools
import json

import pytest
from tests.support.kafka_tools import arrival
from tests.support.stand_in import open_stand_in

from residua.errors import SubtractionTimeoutError, TransientError, WorkerCrashError
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.replay.record_headers import place_of
from residua.worker.conclude import Healing
from residua.worker.handler import ArrivalHandler
from residua.worker.membership import Membership
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import ChildAnswer, initialize, process_in_child
from residua.worker.templates.in_force import Templates
from residua_schemas import (
    ArrivalPlace,
    DeadLetter,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
    outcome_from_json,
)
from residua_schemas.examples import examples

PLACE = ArrivalPlace(append_time_ms=0, partition=0, offset=0)
UNFORESEEN = ChildAnswer("error", message="KeyError: 'x'")


class StandInPool:
    """Runs the stand-in here, after raising or answering the given faults."""

    def __init__(self, settings, faults=()):
        self._process = open_stand_in(settings)
        self._faults = iter(faults)
        self.kept = []
        self.asked = []
        self.region = None

    async def run(self, event, candidates, place, label=None):
        fault = next(self._faults, None)
        if isinstance(fault, Exception):
            raise fault
        self.asked.append(candidates)
        if candidates is None:
            return ChildAnswer("outcome", region=self.region)
        return fault or ChildAnswer("outcome", outcome=self._process(event, candidates))

    async def settle(self, failure, place):
        self.kept.append(failure)
        return ChildAnswer("outcome", outcome=failure)


@pytest.fixture
def settings(tmp_path):
    return WorkerSettings(
        output_root=str(tmp_path),
        template_set="dp1",
        topic_prefix="p-",
        transient_attempts=3,
        transient_pause=0.001,
    )


async def nothing():
    pass


def handle(settings, value, *faults, confirm=nothing, pool=None, templates=None):
    handler = ArrivalHandler(
        settings,
        pool or StandInPool(settings, faults),
        templates or Templates("dp1"),
        nothing,
        confirm,
        Metrics(),
    )
    record = IncomingRecord("p-visit-arrivals", 3, 17, b"k", value, 1_795_387_024_877)
    *self_sent, outgoing = asyncio.run(handler(record))
    assert self_sent == []
    return outgoing


def body(visit=1, wish=""):
    return arrival(visit, wish).model_dump_json().encode()


def test_the_same_record_gives_the_same_record(settings):
    first, again = handle(settings, body()), handle(settings, body())
    assert first == again
    assert first.topic == "p-difference-images"
    assert first.key == b"Sim/1/0"
    headers = dict(first.headers)
    assert headers["ce_type"] == b"org.residua.difference-image.v1"
    assert headers["ce_time"].startswith(b"2026-11-22T22:37:04.877")
    assert all(isinstance(v, bytes) for v in headers.values())
    assert outcome_from_json(first.value).outcome == "created"


def test_an_outcome_is_counted_when_the_broker_has_it_and_not_before(settings):
    metrics = Metrics()
    handler = ArrivalHandler(
        settings, StandInPool(settings), Templates("dp1"), nothing, nothing, metrics
    )
    record = IncomingRecord("p-visit-arrivals", 3, 17, b"k", body(), 1_795_387_024_877)
    [outgoing] = asyncio.run(handler(record))

    def counted():
        families = [f for f in metrics.registry.collect() if f.name == "residua_outcomes"]
        return sum(s.value for f in families for s in f.samples if s.name.endswith("_total"))

    assert counted() == 0
    outgoing.on_delivery()
    assert counted() == 1


def test_another_run_gives_another_event(settings):
    other = settings.model_copy(update={"run_label": "again"})
    a, b = handle(settings, body()), handle(other, body())
    assert dict(a.headers)["ce_id"] != dict(b.headers)["ce_id"]
    assert outcome_from_json(b.value).run.endswith("/again")


def test_an_unreadable_record_becomes_a_dead_letter_at_its_own_place(settings):
    out = handle(settings, b"\xff{")
    assert out == handle(settings, b"\xff{")
    assert (out.topic, out.key) == ("p-dead-letters", b"p-visit-arrivals/3/17")
    letter = DeadLetter.model_validate_json(out.value)
    assert (letter.value, letter.key, letter.service) == (b"\xff{", b"k", "worker")
    assert letter.error == "MalformedEventError"


def test_a_silent_component_is_asked_again_a_bounded_number_of_times(settings):
    silent = ChildAnswer("transient", message="no answer")
    out = handle(settings, body(), silent, silent)
    assert outcome_from_json(out.value).outcome == "created"
    with pytest.raises(TransientError, match="3 tries"):
        handle(settings, body(), *itertools.repeat(silent, 3))


def test_a_lost_subtraction_is_a_failed_outcome_with_its_numbers(settings):
    out = handle(settings, body(), SubtractionTimeoutError("no answer", timeout=2.0))
    outcome = json.loads(out.value)
    assert outcome["outcome"] == "failed"
    assert outcome["error"] == "SubtractionTimeoutError"
    assert outcome["responsible"] == "operator"
    assert outcome["numbers"] == {"timeout": 2.0}


@pytest.mark.parametrize(
    "fault", [SubtractionTimeoutError("no answer"), WorkerCrashError("died"), UNFORESEEN]
)
def test_a_failure_of_this_worker_alone_is_not_published_when_the_arrival_is_lost(settings, fault):
    async def lost():
        raise TransientError("out of the group")

    with pytest.raises(TransientError, match="out of the group"):
        handle(settings, body(), fault, confirm=lost)
    # What any worker would find is published, whoever has the arrival now.
    assert handle(settings, body(), confirm=lost).topic == "p-difference-images"
    assert handle(settings, body(2, "fail"), confirm=lost).topic == "p-difference-images"


@pytest.mark.parametrize(
    "fault", [SubtractionTimeoutError("no answer"), WorkerCrashError("died"), UNFORESEEN]
)
def test_a_failure_another_try_may_not_meet_is_written_down_before_it_is_told(settings, fault):
    pool = StandInPool(settings, [fault])
    out = handle(settings, body(), pool=pool)
    assert pool.kept == [outcome_from_json(out.value)]
    # Any try meets a corrupt file.
    pool = StandInPool(settings)
    assert outcome_from_json(handle(settings, body(2, "fail"), pool=pool).value).outcome == "failed"
    assert pool.kept == []


def test_nothing_is_told_when_the_failure_cannot_be_written_down(settings):
    pool = StandInPool(settings, [WorkerCrashError("died")])

    async def refuse(_failure, _place):
        raise TransientError("the failure cannot be written down")

    pool.settle = refuse
    with pytest.raises(TransientError, match="cannot be written down"):
        handle(settings, body(), pool=pool)


def test_an_arrival_is_ours_while_the_generation_stands():
    now = {"generation": 4}
    membership = Membership(lambda: now["generation"], 0.0)
    membership.take()
    asyncio.run(membership.confirm())
    for other in (-1, 5):
        now["generation"] = other
        with pytest.raises(TransientError, match="another worker has it"):
            asyncio.run(membership.confirm())


def test_no_exception_leaves_the_child(settings, monkeypatch):
    monkeypatch.setattr("residua.worker.subtracting.child.die_with_parent", lambda *_: None)
    monkeypatch.setattr("residua.worker.subtracting.child.signal.signal", lambda *_: None)
    monkeypatch.setattr("residua.worker.subtracting.child.configure_logging", lambda *_: None)
    initialize(open_stand_in, settings, 0)
    assert process_in_child(arrival(1), (), PLACE).kind == "outcome"
    assert process_in_child(arrival(2, "transient"), (), PLACE).kind == "transient"
    answer = process_in_child(arrival(3, "raise"), (), PLACE)
    assert answer.message == "ZeroDivisionError: by request"


def test_what_a_duplicate_had_overtaken_is_sent_again_before_the_outcome(settings):
    newest = arrival(5).model_copy(update={"remake": 1})
    place = ArrivalPlace(append_time_ms=1700, partition=2, offset=9)
    done = StandInPool(settings)._process(arrival(5), ())
    pool = StandInPool(
        settings, [ChildAnswer("outcome", outcome=done, healing=Healing(newest, place))]
    )
    handler = ArrivalHandler(settings, pool, Templates("dp1"), nothing, nothing, Metrics())
    record = IncomingRecord("p-visit-arrivals", 3, 17, b"k", body(5), 1_795_387_024_877)
    first, second = asyncio.run(handler(record))
    assert (first.topic, second.topic) == ("p-visit-arrivals", "p-difference-images")
    assert VisitArrival.model_validate_json(first.value) == newest
    again = IncomingRecord("p-visit-arrivals", 0, 99, first.key, first.value, 5, first.headers)
    assert place_of(again) == place


def test_a_record_has_the_place_its_broker_gave_it():
    stamped = IncomingRecord("t", 3, 17, b"k", b"", 1234, (), True)
    assert place_of(stamped) == ArrivalPlace(append_time_ms=1234, partition=3, offset=17)
    # A producer's clock orders nothing.
    by_producer = IncomingRecord("t", 3, 17, b"k", b"", 1234, ())
    assert place_of(by_producer) == ArrivalPlace(append_time_ms=0, partition=3, offset=17)
    header = (("residua-origin", b"not/a/place"),)
    assert place_of(IncomingRecord("t", 3, 17, b"k", b"", 1234, header)).offset == 17


def test_of_many_templates_only_those_that_overlap_travel_whoever_knows_the_place(settings):
    templates = Templates("dp1")
    example = examples()[TemplateCoadd]
    for patch in range(200):
        ra = 20.0 + 0.5 * patch
        corners = ((ra, 0.0), (ra + 0.5, 0.0), (ra + 0.5, 0.5), (ra, 0.5))
        one = example.model_copy(
            update={"patch": patch, "band": "r", "region": SkyPolygon(vertices=corners)}
        )
        value = one.model_dump_json(exclude_none=True).encode()
        templates.apply(IncomingRecord("template-coadds", 0, patch, one.key, value, 0))
    where = SkyPolygon(vertices=((50.1, 0.1), (50.2, 0.1), (50.2, 0.2), (50.1, 0.2)))
    # The event says it.
    pool = StandInPool(settings)
    told = arrival(1).model_copy(update={"region": where})
    handle(settings, told.model_dump_json().encode(), pool=pool, templates=templates)
    assert [[t.patch for t in asked] for asked in pool.asked] == [[60]]
    # Only the file does: it is asked, and then the same one is chosen.
    pool = StandInPool(settings)
    pool.region = where
    handle(settings, body(), pool=pool, templates=templates)
    assert pool.asked[0] is None
    assert [t.patch for t in pool.asked[1]] == [60]
