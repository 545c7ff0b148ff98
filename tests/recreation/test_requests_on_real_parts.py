"""Whole images asked of workers, on Apache Kafka, S3 and PostgreSQL: nothing is faked.

``pytest -m slow tests/recreation/test_requests_on_real_parts.py``
"""

import asyncio
import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import jwt
import pytest
import pyvo
from lsst.resources import ResourcePath
from requests import Session
from tests.access.conftest import serving
from tests.support.kafka_tools import Delivery
from tests.support.servers.apache_kafka import kafka_missing, running_kafka
from tests.support.servers.certificates import make_token_issuer
from tests.support.servers.postgres import postgres_missing, running_postgres
from tests.support.servers.s3 import running_s3, s3_missing

from residua.access.settings import AccessSettings
from residua.demo.inputs import simulated_inputs
from residua.messaging.client import event_record, read_to_end
from residua.messaging.settings import KafkaSettings
from residua.recreation.shared import FOLDER
from residua_schemas import RECREATION_REQUESTS, TEMPLATE_COADDS, RecreationRequest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WAITING = 4
DETECTORS = WAITING + 3


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return make_token_issuer(tmp_path_factory.mktemp("tokens"))


def headers(issuer, subject):
    claims = {
        "sub": subject,
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "exp": int(time.time()) + 1800,
        "scope": "read:image read:tap",
    }
    bearer = jwt.encode(claims, issuer.private_key, algorithm="RS256", headers={"kid": "test"})
    return {"Authorization": f"Bearer {bearer}"}


class System:
    """Services on their parts, and what a night left: images of which none is stored."""

    def __init__(self, delivery, issuer, folder, created, start_worker):
        self.delivery, self.created, self._issuer = delivery, created, issuer
        self.start_worker = start_worker
        self.settings = AccessSettings(
            catalog_url=delivery.catalog_url,
            image_roots=(delivery.output_root,),
            results_directory=folder / "results",
            kafka_bootstrap=delivery.settings.kafka_bootstrap,
            topic_prefix=delivery.settings.topic_prefix,
            jwks_url=str(issuer.key_set),
            token_issuer=issuer.issuer,
            token_audience=issuer.audience,
            recreate_by="workers",
            concurrent_recreations=0,
            waiting_recreations=WAITING,
            sync_seconds=300.0,
        )

    def client(self, base, subject):
        found = headers(self._issuer, subject)
        return httpx.Client(base_url=base, headers=found, follow_redirects=True, timeout=600)

    def session(self, subject):
        session = Session()
        session.headers.update(headers(self._issuer, subject))
        return session

    def requests(self):
        """Which images were asked for so far, each as often as it was; partitions have no order."""

        async def read():
            name = self.delivery.settings.topic_name(RECREATION_REQUESTS)
            return [r async for r in read_to_end(self.delivery.settings, name)]

        values = [r.value for r in asyncio.run(read())]
        asked = [RecreationRequest.model_validate_json(v).outcome.dataset_id for v in values]
        return sorted(asked)

    def shared(self):
        folder = ResourcePath(self.delivery.output_root, forceDirectory=True).join(f"{FOLDER}/")
        return sorted(p.basename() for p in ResourcePath.findFileResources([folder]))


@pytest.fixture(scope="module")
def system(issuer, tmp_path_factory):
    for reason in (kafka_missing(), s3_missing(), postgres_missing("pg_sphere")):
        if reason:
            pytest.skip(reason)
    folder = tmp_path_factory.mktemp("system")
    with (
        running_kafka() as kafka,
        running_s3("visits", "templates", "difference-images") as s3,
        running_postgres() as postgres,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        url = postgres.create_database("recreations", ["pg_sphere"])
        settings = KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix="whole-")
        with Delivery(settings, folder / "delivery", s3=s3, catalog_url=url) as delivery:

            def start_worker(name="worker"):
                return delivery.start_worker(
                    name,
                    module="residua.worker",
                    input_roots=json.dumps(["s3://visits"]),
                    template_roots=json.dumps(["s3://templates"]),
                    store="none",
                )

            worker = start_worker()
            delivery.start_catalog(image_roots=json.dumps([delivery.output_root]))
            created = a_night(delivery, folder, [worker])
            yield System(delivery, issuer, folder, created, start_worker), worker


def a_night(delivery, folder, alive):
    """Send templates and arrivals whose files lie in the store; wait for rows of all."""
    inputs = simulated_inputs(
        folder,
        seed=23,
        detector_shape=(560, 600),
        visits=2,
        detectors=DETECTORS,
        template_set="default",
        progress=lambda _line: None,
    )

    def stored(uri, bucket):
        place = ResourcePath(f"s3://{bucket}/{uri.rpartition('/')[2]}")
        place.write(ResourcePath(uri).read())
        return place.geturl()

    topic = delivery.settings.topic_name(TEMPLATE_COADDS)
    templates = [t.model_copy(update={"uri": stored(t.uri, "templates")}) for t in inputs.templates]
    delivery.send(event_record(topic, t, t.key, source="/tests") for t in templates)
    arrivals = [a for a in inputs.arrivals if ResourcePath(a.image_uri).exists()]
    arrivals = [a.model_copy(update={"image_uri": stored(a.image_uri, "visits")}) for a in arrivals]
    delivery.send(arrivals)
    account = delivery.wait(
        lambda a: len(a.outcomes) == len(arrivals) and len(a.rows) == a.kinds["created"],
        seconds=900,
        alive=alive,
    )
    assert account.kinds["created"] >= DETECTORS
    assert account.files == frozenset()
    return [o for o in account.outcomes if o.outcome == "created"]


def sha(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_pyvo_asks_a_worker_makes_and_the_client_fetches(system):
    system, _ = system
    created = system.created[0]
    with serving(system.settings) as address:
        session = system.session("vera")
        links = pyvo.dal.adhoc.DatalinkResults.from_result_url(
            f"{address}/datalink/links?{httpx.QueryParams({'ID': created.obs_publisher_did})}",
            session=session,
        )
        assert "will be made when it is asked for" in next(iter(links))["description"]
        service = links.get_adhocservice_by_id("recreation-async")
        jobs = str(next(p.value for p in service.params if p.name == "accessURL"))
        answer = session.post(
            jobs,
            data={"ID": created.obs_publisher_did, "PHASE": "RUN"},
            allow_redirects=False,
            timeout=60,
        )
        assert answer.status_code == 303, answer.text
        job = pyvo.dal.tap.AsyncTAPJob(answer.headers["location"], session=session)
        job.wait(timeout=600)
        assert job.phase == "COMPLETED", session.get(job.url, timeout=60).text
        [result] = job.results
        content = session.get(result.href, timeout=300)
        assert content.headers["content-type"] == "application/fits"
        assert sha(content.content) == created.checksum
        # A cutout needs no worker, and no second request.
        query = pyvo.dal.adhoc.SodaQuery.from_resource(
            links, links.get_adhocservice_by_id("cutout-sync"), session=session
        )
        query.circle = (*created.region.center, 5.0 / 3600.0)
        assert query.execute_stream().read(6) == b"SIMPLE"
        assert system.requests() == [created.dataset_id]
    # Where all can read it, under its own name; nothing is stored that was not to be.
    assert system.shared() == [created.uri.rpartition("/")[2]]
    assert not ResourcePath(created.uri).exists()


def test_all_who_ask_for_one_image_have_one_request(system):
    system, _ = system
    created = system.created[1]
    before = system.requests()
    barrier = threading.Barrier(6)
    with serving(system.settings) as address:

        def ask(n):
            with system.client(address, f"user-{n % 3}") as client:
                barrier.wait()
                return sha(client.get(f"/images/{created.dataset_id}.fits").content)

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(ask, range(6))) == {created.checksum}
        assert system.requests() == sorted([*before, created.dataset_id])
        # Kept for a while: the next who asks needs no worker.
        assert ask_alone(system, address, created) == created.checksum
    # Also of another replica, which was never asked before.
    with serving(system.settings) as address:
        assert ask_alone(system, address, created) == created.checksum
    assert system.requests() == sorted([*before, created.dataset_id])


def ask_alone(system, address, created):
    with system.client(address, "somebody") as client:
        return sha(client.get(f"/images/{created.dataset_id}.fits").content)


def test_no_user_and_not_all_together_have_more_under_way_than_they_may(system):
    system, worker = system
    before = system.requests()
    images = [c for c in system.created if c.dataset_id not in before][: WAITING + 1]
    assert len(images) == WAITING + 1
    worker.kill()
    impatient = system.settings.model_copy(update={"sync_seconds": 5.0})
    with (
        serving(impatient) as address,
        system.client(address, "vera") as vera,
        system.client(address, "rubin") as rubin,
        system.client(address, "third") as third,
    ):

        def ask(client, number):
            answer = client.get(f"/images/{images[number].dataset_id}.fits")
            return answer.status_code, answer.text

        for number in range(WAITING // 2):
            status, text = ask(vera, number)
            assert (status, "is being made again" in text) == (503, True), text
        status, text = ask(vera, 2)
        assert (status, "for you" in text) == (429, True), text
        # What is under way already may be asked for as often as anybody likes.
        assert ask(vera, 0)[0] == ask(third, 1)[0] == 503
        for number in range(WAITING // 2, WAITING):
            assert ask(rubin, number)[0] == 503
        status, text = ask(third, WAITING)
        assert (status, f"{WAITING} images" in text) == (429, True), text
        asked = sorted([*before, *(c.dataset_id for c in images[:WAITING])])
        assert system.requests() == asked
        # What was asked before there was a worker is made by the next one, whoever waits.
        system.start_worker("another")
        deadline = time.monotonic() + 600
        for client, number in ((vera, 0), (vera, 1), (rubin, 2), (rubin, 3)):
            created = images[number]
            while (answer := client.get(f"/images/{created.dataset_id}.fits")).status_code == 503:
                assert time.monotonic() < deadline
            assert answer.status_code == 200, answer.text
            assert sha(answer.content) == created.checksum
    assert system.requests() == asked
