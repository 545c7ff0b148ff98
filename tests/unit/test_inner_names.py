"""Inner names of other libraries are still there, on their own objects, and mean what they did."""

import asyncio
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from faust.transport.drivers import aiokafka as driver
from lsst.daf.butler import Butler, Config
from lsst.daf.butler.datastore import Datastore
from lsst.resources import ResourcePath
from urllib3.exceptions import NewConnectionError

import residua
from residua import inner_names
from residua.testing.embedded_broker import EmbeddedBroker

CHANGED = "{} has changed: mend residua/inner_names.py, or keep the ceiling in pyproject.toml"


def has(what, *names):
    for name in names:
        assert hasattr(what, name), CHANGED.format(f"{what!r}.{name}")


def test_aiokafka_isolation_is_set_before_the_start():
    async def go():
        consumer = AIOKafkaConsumer()
        has(consumer, "_isolation_level", "_coordinator", "_client", "_loop")
        inner_names.read_committed(consumer)
        wanted = AIOKafkaConsumer(isolation_level="read_committed")
        assert consumer._isolation_level == wanted._isolation_level, CHANGED.format("isolation")
        has(consumer._client, "add_topic", "force_metadata_update")

    asyncio.run(go())


def test_aiokafka_groups_have_generations_and_members():
    async def go():
        consumer = AIOKafkaConsumer()
        # As `start` makes it, without asking a broker.
        coordinator = GroupCoordinator(consumer._client, SubscriptionState(), group_id="g")
        has(coordinator, "generation", "member_id")
        consumer._coordinator = coordinator
        assert inner_names.group_generation(consumer) == -1
        assert inner_names.group_member_id(consumer) == ""
        coordinator.member_id, coordinator.generation = "me", 4
        assert inner_names.group_generation(consumer) == 4
        assert inner_names.group_member_id(consumer) == "me"
        consumer._loop = asyncio.get_running_loop()
        coordinator._rejoin_needed_fut = asyncio.get_running_loop().create_future()
        await asyncio.to_thread(inner_names.join_anew, consumer)
        await asyncio.wait_for(coordinator._rejoin_needed_fut, 10.0)
        await coordinator.close()

    asyncio.run(go())


def test_aiokafka_learns_of_topics_and_controllers():
    async def go(bootstrap):
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
        try:
            await admin.start()
            has(admin._client.cluster, "controller")
            await consumer.start()
            [topic, *_] = await admin.list_topics()
            await inner_names.learn_of_topic(consumer, topic)
            assert consumer.partitions_for_topic(topic), CHANGED.format("AIOKafkaClient.add_topic")
            return inner_names.has_controller(admin)
        finally:
            await consumer.stop()
            await admin.close()

    with EmbeddedBroker("p-") as broker:
        assert asyncio.run(go(broker.bootstrap)) in {True, False}


def test_faust_has_the_methods_we_override_and_call():
    has(driver.AIOKafkaConsumerThread, "_ensure_consumer", "_create_worker_consumer")
    has(driver.Consumer, "_new_consumer_thread")
    has(driver.Transport, "Consumer")


def test_lsst_resources_know_their_bucket():
    assert inner_names.bucket(ResourcePath("s3://visits/a/b.fits")) == "visits"


def test_s3_clients_have_a_pool_that_sends(monkeypatch):
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    place, address = ResourcePath("s3://visits/a/b.fits"), "http://127.0.0.1:1/visits/a/b.fits"
    pool = inner_names.http_pool(place, address)
    # It says nothing listens there: it is what sends.
    with pytest.raises(NewConnectionError):
        pool.urlopen("GET", "/visits/a/b.fits", retries=False)
    secure = inner_names.http_pool(place, "https://127.0.0.1:1/visits/a/b.fits")
    assert secure.cert_reqs == "CERT_REQUIRED"
    assert Path(secure.ca_certs).is_file()


def test_requests_through_a_proxy_are_left_to_boto():
    session = URLLib3Session(proxies={"http": "http://127.0.0.1:4"})
    place = SimpleNamespace(client=SimpleNamespace(_endpoint=SimpleNamespace(http_session=session)))
    assert inner_names.http_pool(place, "http://store.example/visits/a/b.fits") is None
    assert inner_names.http_pool(place, "https://store.example/visits/a/b.fits") is not None


def test_s3_clients_sign_in_headers(monkeypatch):
    # Clients are kept by their endpoint: the one above has no credentials.
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    request = AWSRequest("HEAD", "http://127.0.0.1:1/visits/a/b.fits")
    inner_names.sign_request(ResourcePath("s3://visits/a/b.fits"), "head_object", request)
    signed = request.headers["Authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256")
    assert "range" not in signed


def test_butlers_forget_files(tmp_path):
    Butler.makeRepo(tmp_path, Config())
    with Butler.from_config(tmp_path, writeable=True) as butler:
        has(butler, "_datastore")
        assert isinstance(butler._datastore, Datastore), CHANGED.format("Butler._datastore")
        inner_names.forget_files(butler, [])


def test_executors_list_their_processes():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        assert inner_names.child_processes(executor) == []
        pid = executor.submit(int).result()
        assert pid == 0
        [process] = inner_names.child_processes(executor)
        assert process.is_alive(), CHANGED.format("ProcessPoolExecutor._processes")


def test_no_other_module_reaches_into_objects():
    modules = Path(residua.__file__).parent.rglob("*.py")
    reaching = {p.name for p in modules if re.search(r"noqa: .*SLF001", p.read_text())}
    assert reaching == {"inner_names.py"}
