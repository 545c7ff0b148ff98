"""Whole images that are asked of the workers: over Kafka, as jobs, arrivals first."""

import asyncio
import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import pyvo
from lsst.resources import ResourcePath
from structlog.testing import capture_logs
from tests.access.conftest import serving
from tests.support.kafka_tools import Delivery, arrival
from tests.support.night import copied_night

from residua.access.making.by_workers import MadeByWorkers
from residua.access.settings import AccessSettings
from residua.errors import TransientError
from residua.messaging.client import read_to_end
from residua.messaging.records.events import IncomingRecord
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics
from residua.recreation import RecreationSettings, Recreator, shared
from residua.recreation.shared import FOLDER, make_room, make_shared, shared_place
from residua.storage.objects import local_path
from residua.testing.embedded_broker import EmbeddedBroker
from residua.worker.recreating import in_child
from residua.worker.recreating.in_child import Remade
from residua.worker.recreating.requests import RequestFollower
from residua.worker.settings import WorkerSettings
from residua.worker.watchdog import SignsOfLife
from residua_schemas import (
    DIFFERENCE_IMAGES,
    RECREATION_ANSWERS,
    RECREATION_REQUESTS,
    RecreationAnswer,
    RecreationRequest,
)


@pytest.fixture(scope="module")
def none(night, tmp_path_factory):
    """A night of which no image is stored, and its catalog."""
    folder = tmp_path_factory.mktemp("none")
    copy = copied_night(night, str(folder / "night"), store="none")
    return copy, copy.fill(f"sqlite:///{folder}/catalog.sqlite")


@pytest.fixture(scope="module")
def asked(none, tmp_path_factory):
    """A worker, an access service that asks it, and what lies between them."""
    copy, url = none
    with (
        EmbeddedBroker("r-") as broker,
        Delivery(
            KafkaSettings(kafka_bootstrap=broker.bootstrap, topic_prefix="r-"),
            tmp_path_factory.mktemp("delivery"),
        ) as delivery,
    ):
        # The stand-in's arrivals cost nothing; what it makes again is real.
        worker = delivery.start_worker(
            output_root=copy.output_root,
            input_roots=json.dumps([f"{copy.root}/visits", "/"]),
            template_roots=json.dumps([f"{copy.root}/templates"]),
        )
        settings = AccessSettings(
            catalog_url=url,
            image_roots=(copy.output_root,),
            results_directory=tmp_path_factory.mktemp("results"),
            kafka_bootstrap=broker.bootstrap,
            topic_prefix="r-",
            recreate_by="workers",
            # None is made in the service: it has not even the inputs.
            concurrent_recreations=0,
            sync_seconds=300.0,
        )
        with serving(settings) as address:
            yield copy, address, delivery, worker


def records(delivery, topic):
    async def read():
        name = delivery.settings.topic_name(topic)
        return [r async for r in read_to_end(delivery.settings, name)]

    return asyncio.run(read())


def job_for(address, created):
    answer = httpx.post(
        f"{address}/recreations", data={"ID": created.obs_publisher_did, "PHASE": "RUN"}
    )
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


@pytest.mark.timeout(600)
def test_a_job_waits_for_the_night_and_its_result_is_the_file(asked):
    copy, address, delivery, worker = asked
    created = copy.created[0]
    links = pyvo.dal.adhoc.DatalinkResults.from_result_url(
        f"{address}/datalink/links?{httpx.QueryParams({'ID': created.obs_publisher_did})}"
    )
    service = links.get_adhocservice_by_id("recreation-async")
    url = str(next(p.value for p in service.params if p.name == "accessURL"))
    assert url == f"{address}/recreations"
    delivery.send(arrival(v, "sleep=0.4") for v in range(5))
    delivery.wait(lambda a: a.outcomes, alive=[worker], seconds=300)
    place = job_for(address, created)
    job = pyvo.dal.tap.AsyncTAPJob(place)
    assert job.phase in {"QUEUED", "EXECUTING"}
    said = set()
    while job.phase in {"QUEUED", "EXECUTING"}:
        text = httpx.get(place).text
        said.add(text.partition('uws">')[2].partition("<")[0])
        time.sleep(0.1)
    assert job.phase == "COMPLETED", httpx.get(place).text
    assert {"asked of the workers", "being made"} <= said
    [result] = job.results
    content = httpx.get(result.href, follow_redirects=True, timeout=60)
    assert content.headers["content-type"] == "application/fits"
    assert f"sha256:{hashlib.sha256(content.content).hexdigest()}" == created.checksum
    # Arrivals first: none of them waited for it.
    made = [r for r in records(delivery, RECREATION_ANSWERS) if b'"making"' in r.value]
    outcomes = records(delivery, DIFFERENCE_IMAGES)
    assert len(outcomes) == 5
    assert made[0].timestamp >= max(r.timestamp for r in outcomes)
    # Under its own name, where all can read it; nothing is stored that was not to be.
    kept = ResourcePath(copy.output_root, forceDirectory=True).join(f"{FOLDER}/")
    assert [p.basename() for p in ResourcePath.findFileResources([kept])] == [
        created.uri.rpartition("/")[2]
    ]
    assert not local_path(created.uri).exists()
    # Queries do not see it, nor it them.
    assert httpx.get(place.replace("/recreations/", "/tap/async/")).status_code == 404
    assert created.obs_publisher_did not in httpx.get(f"{address}/tap/async").text


@pytest.mark.timeout(600)
def test_all_who_ask_have_one_request_and_the_next_need_none(asked):
    copy, address, delivery, _ = asked
    created = copy.created[1]
    url = f"{address}/images/{created.dataset_id}.fits"
    before = len(records(delivery, RECREATION_REQUESTS))
    barrier = threading.Barrier(6)

    def ask(_):
        barrier.wait()
        return httpx.get(url, timeout=300).content

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    digests = {f"sha256:{hashlib.sha256(a).hexdigest()}" for a in answers}
    assert digests == {created.checksum}
    assert len(records(delivery, RECREATION_REQUESTS)) == before + 1
    assert httpx.get(url).content == answers[0]
    job = pyvo.dal.tap.AsyncTAPJob(job_for(address, created))
    job.wait(timeout=60)
    assert job.phase == "COMPLETED"
    assert len(records(delivery, RECREATION_REQUESTS)) == before + 1


@pytest.mark.timeout(600)
def test_a_job_that_cannot_have_its_image_says_which_error_it_is(asked):
    copy, address, delivery, _ = asked
    created = copy.created[0]
    shared_place(created, {}).remove()
    visit = local_path(created.visit_image.uri)
    content = visit.read_bytes()
    visit.unlink()
    try:
        place = job_for(address, created)
        job = pyvo.dal.tap.AsyncTAPJob(place)
        job.wait(timeout=300)
    finally:
        visit.write_bytes(content)
    assert job.phase == "ERROR"
    text = httpx.get(f"{place}/error").text
    assert "LostInputError" in text
    # Where things lie is not for everybody; operators find it on the topic.
    assert str(copy.root) not in text
    answers = [
        RecreationAnswer.model_validate_json(r.value) for r in records(delivery, RECREATION_ANSWERS)
    ]
    [failed] = [a for a in answers if a.state == "failed"]
    assert failed.error == "LostInputError"
    assert str(visit) in failed.message
    assert httpx.post(f"{address}/recreations", data={"PHASE": "RUN"}).status_code == 400
    unknown = {"ID": "ivo://nobody/none", "PHASE": "RUN"}
    assert httpx.post(f"{address}/recreations", data=unknown).status_code == 404


def test_the_shared_file_is_put_once_and_goes_by_its_age(none, tmp_path):
    copy, _ = none
    created = copy.created[1]
    recreator = Recreator(RecreationSettings(), tmp_path / "scratch")
    place = make_shared(recreator, created, copy.output_root)
    first = local_path(place.geturl()).stat()
    assert make_shared(recreator, created, copy.output_root) == place
    assert local_path(place.geturl()).stat().st_mtime_ns == first.st_mtime_ns
    assert list((tmp_path / "scratch").glob("*")) == []
    assert make_room(copy.output_root, 24.0) == 0
    tomorrow = datetime.now(UTC) + timedelta(hours=25)
    assert make_room(copy.output_root, 24.0, tomorrow) >= 1
    assert not place.exists()


def test_an_address_of_no_broker_is_said_again_and_again(image):
    """Whatever keeps the clients from being opened, the service asks again and says why."""
    settings = AccessSettings(
        kafka_bootstrap="127.0.0.1:port", recreate_by="workers", sync_seconds=1.5
    )
    row = {"uri": image.uri, "event": image.model_dump(mode="json")}

    async def ask():
        maker = MadeByWorkers(settings)
        with pytest.raises(TransientError, match="the brokers do not answer"):
            await maker.make(row, lambda words: None)
        await maker.stop()

    with capture_logs() as logs:
        asyncio.run(ask())
    said = [line["error"] for line in logs if line["event"] == "recreation_brokers_silent"]
    assert len(said) > 1
    assert all("'port'" in words for words in said)


def test_old_files_go_without_a_look_at_each_and_so_many_at_once(tmp_path, monkeypatch):
    folder = tmp_path / FOLDER
    folder.mkdir()
    for n in range(7):
        (folder / f"{n}.fits").touch()
        if n != 3:
            os.utime(folder / f"{n}.fits", (0, 0))
    asked = []
    monkeypatch.setattr(type(ResourcePath(str(tmp_path))), "get_info", asked.append)
    assert [make_room(str(tmp_path), 24.0, most=4) for _ in range(3)] == [4, 2, 0]
    assert [p.name for p in folder.iterdir()] == ["3.fits"]
    assert asked == []


@pytest.fixture
def child(none, monkeypatch):
    """What a worker's child has, without the process."""
    copy, _ = none
    monkeypatch.setattr(in_child, "_swept", [])
    monkeypatch.setattr(in_child, "_recreators", [])
    return WorkerSettings(
        output_root=copy.output_root,
        input_roots=(f"{copy.root}/visits",),
        template_roots=(f"{copy.root}/templates",),
        kafka_bootstrap="127.0.0.1:1",
    )


def test_an_image_is_made_whatever_becomes_of_old_files(none, child, tmp_path, monkeypatch):
    created = none[0].created[1]
    monkeypatch.setattr(shared, "list_times", lambda _: 1 / 0)
    assert in_child.recreate_in_child(child, tmp_path, created) == Remade("made")
    assert shared_place(created, {}).exists()


def test_another_roots_image_is_left_to_it_and_one_without_a_place_is_refused(
    none, child, tmp_path
):
    created = none[0].created[1]
    foreign = created.uri.replace(none[0].output_root.removeprefix("file://"), str(tmp_path))
    assert foreign != created.uri
    made = in_child.recreate_in_child(child, tmp_path, created.model_copy(update={"uri": foreign}))
    assert (made.kind, made.error) == ("elsewhere", "UriNotAllowedError")
    # As releases before 1.3 named them.
    folder = created.uri.rpartition("/")[0]
    unnamed = created.model_copy(update={"uri": f"{folder}/difference_image_Sim_1_2.fits"})
    made = in_child.recreate_in_child(child, tmp_path, unnamed)
    assert (made.kind, made.error) == ("failed", "UriNotAllowedError")
    assert "does not say which bytes" in made.message


class Kit:
    """A follower of requests whose images take no time, and what it said."""

    def __init__(self, tmp_path, made, waiting=0):
        self.settings = WorkerSettings(
            output_root=str(tmp_path), kafka_bootstrap="127.0.0.1:1", transient_pause=0.0
        )
        self.signs = SignsOfLife(waiting=waiting)
        self.metrics = Metrics()
        self.made, self.said = list(made), []
        self.follower = RequestFollower(self.settings, self, self.signs, tmp_path, self.metrics)

    async def spare(self, idle, call):
        assert call.args[-1].outcome == "created"
        return self.made.pop(0) if idle() else None

    async def send_and_wait(self, topic, *, key, value, headers):
        self.said.append((topic, value))

    def take(self, value):
        record = IncomingRecord("recreation-requests", 2, 5, b"k", value, 0)
        asyncio.run(self.follower.take(record, self))
        return [json.loads(v).get("state", topic) for topic, v in self.said]

    def count(self, result):
        name = "residua_recreations_total"
        return self.metrics.registry.get_sample_value(name, {"result": result})


def request_for(created, seconds=60.0):
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    request = RecreationRequest(request_id=uuid4(), outcome=created, valid_until=until)
    return request.model_dump_json().encode()


SILENT = Remade("transient", "TransientError", "the store is down")


@pytest.mark.parametrize(
    ("made", "said", "counted"),
    [
        ([Remade("made")], ["making", "made"], "made"),
        ([SILENT, SILENT, Remade("made")], ["making", "made"], "made"),
        ([SILENT] * 6, ["making", "failed"], "TransientError"),
        ([Remade("failed", "LostInputError", "gone")], ["making", "failed"], "LostInputError"),
        # Whose root it is answers.
        ([Remade("elsewhere", "UriNotAllowedError", "no")], ["making"], "elsewhere"),
    ],
)
def test_every_request_is_answered_after_what_came_of_it(image, tmp_path, made, said, counted):
    kit = Kit(tmp_path, made)
    assert kit.take(request_for(image)) == said
    assert kit.count(counted) == 1
    assert kit.made == []


def test_what_cannot_be_read_is_a_dead_letter_and_nothing_is_made(tmp_path):
    kit = Kit(tmp_path, [])
    assert kit.take(b'{"schema_version": "1.6"}') == ["dead-letters"]
    assert kit.count("refused") == 1


def test_arrivals_that_wait_come_first_until_nobody_waits_for_the_image(image, tmp_path):
    for waiting in (3, None):
        kit = Kit(tmp_path, [], waiting)
        assert kit.take(request_for(image, seconds=0.5)) == []
        assert kit.count("expired") == 1
    kit = Kit(tmp_path, [], 0)
    kit.signs.in_hand_since = time.monotonic()
    assert kit.take(request_for(image, seconds=0.5)) == []
