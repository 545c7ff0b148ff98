"""Which announcements a worker takes, and what it does with those it cannot read."""

import asyncio
import time

import pytest
from aiokafka.partitioner import DefaultPartitioner

from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.read_ahead import ReadAheadReport
from residua.worker.templates import next_visits
from residua.worker.templates.in_force import Templates
from residua.worker.templates.next_visits import NextVisitFollower
from residua_schemas import NextVisit, SkyPolygon, TemplateCoadd, VisitDetector
from residua_schemas.examples import examples

PARTITIONS = [0, 1, 2, 3]
TEMPLATE = examples()[TemplateCoadd]
VISIT = examples()[NextVisit]
PLACE = DefaultPartitioner()(
    VisitDetector(instrument=VISIT.instrument, visit=VISIT.visit, detector=4).key,
    PARTITIONS,
    PARTITIONS,
)


class Kit:
    """A follower that owns some partitions, and the templates it had read."""

    def __init__(self, tmp_path, owned, **settings):
        index = Templates("dp1")
        index.apply(IncomingRecord("t", 0, 0, None, TEMPLATE.model_dump_json().encode(), 0))
        self.read = []
        self.metrics = Metrics()
        self.settings = WorkerSettings(
            output_root=str(tmp_path), template_set="dp1", kafka_bootstrap="127.0.0.1:1", **settings
        )

        async def nothing():
            return

        self.follower = NextVisitFollower(
            self.settings, index, nothing, self, lambda: owned, self.metrics
        )
        self.follower._arrival_partitions = PARTITIONS

    async def read_ahead(self, templates):
        self.read += templates
        return ReadAheadReport(read=len(templates))

    def take(self, event, *, age=0.0, partition=0):
        value = event.model_dump_json().encode() if isinstance(event, NextVisit) else event
        stamp = round((time.time() - age) * 1000.0)
        record = IncomingRecord("next-visits", partition, 5, b"k", value, stamp)
        asyncio.run(self.follower.take(record))

    def count(self, result):
        name = "residua_next_visits_total"
        return self.metrics.registry.get_sample_value(name, {"result": result})


def test_the_worker_that_will_get_the_arrival_reads_its_templates(tmp_path):
    ours, other = Kit(tmp_path, {PLACE}), Kit(tmp_path, {(PLACE + 1) % 4})
    for kit in (ours, other):
        kit.take(VISIT)
    assert (ours.read, ours.count("taken")) == ([TEMPLATE], 1)
    assert (other.read, other.count("elsewhere")) == ([], 1)


@pytest.mark.parametrize(
    ("changes", "settings"),
    [({"visit": None}, {}), ({"detectors": ()}, {}), ({}, {"next_visits": "all"})],
)
def test_every_worker_reads_when_nobody_can_tell_who_gets_the_arrival(tmp_path, changes, settings):
    kit = Kit(tmp_path, {(PLACE + 1) % 4}, **settings)
    kit.take(VISIT.model_copy(update=changes))
    assert kit.read == [TEMPLATE]


def test_templates_elsewhere_or_of_another_band_are_not_read(tmp_path):
    kit = Kit(tmp_path, {PLACE})
    square = SkyPolygon(vertices=((180.0, 0.0), (181.0, 0.0), (181.0, 1.0), (180.0, 1.0)))
    kit.take(VISIT.model_copy(update={"region": square}))
    kit.take(VISIT.model_copy(update={"band": "y"}))
    assert (kit.read, kit.count("no_template")) == ([], 2)


def test_an_old_announcement_is_passed_over(tmp_path):
    kit = Kit(tmp_path, {PLACE}, next_visit_age_limit=60.0)
    kit.take(VISIT, age=61.0)
    kit.take(b"never read", age=61.0)
    assert (kit.read, kit.count("stale")) == ([], 2)


def test_a_bad_announcement_is_buried_by_the_owner_of_its_number(tmp_path, monkeypatch):
    buried = []

    class Sender:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

        async def send_and_wait(self, topic, *, key, value, headers):
            buried.append((topic, key))

    monkeypatch.setattr(next_visits, "producer", lambda _settings: Sender())
    for owned in ({1}, {2, 3}, set()):
        kit = Kit(tmp_path, owned)
        kit.take(b'{"schema_version": "9.0"}', partition=5)
        assert kit.count("refused") == 1
    assert buried == [("dead-letters", b"next-visits/5/5")]


def test_errors_do_not_end_the_lane(tmp_path, monkeypatch):
    monkeypatch.setattr(next_visits, "_FIRST_PAUSE", 0.01)
    kit = Kit(tmp_path, {PLACE})
    tries = []

    async def scenario():
        third = asyncio.Event()

        async def fail():
            tries.append(1)
            if len(tries) == 3:
                third.set()
            raise RuntimeError("by request")

        kit.follower._catch_up = fail
        following = asyncio.create_task(kit.follower.follow())
        await third.wait()
        assert not following.done()
        following.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 60.0))
    assert len(tries) == 3
