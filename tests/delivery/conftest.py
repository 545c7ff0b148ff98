"""Real brokers and stores for the delivery tests; each skips with its reason when it cannot run."""

import itertools
import os
from pathlib import Path

import pytest
from tests.support.kafka_tools import Delivery
from tests.support.servers.apache_kafka import kafka_missing, running_kafka
from tests.support.servers.s3 import running_s3, s3_missing
from tests.support.servers.versitygw import running_versitygw, versitygw_missing

from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker

# An existing broker (for example of Docker Compose) instead of one started here.
GIVEN_KAFKA = os.environ.get("RESIDUA_TEST_KAFKA_BOOTSTRAP")

_prefixes = (f"t{os.getpid()}-{n}-" for n in itertools.count())


def _need(reason):
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def apache_kafka():
    """A node of Apache Kafka that tests may not harm; also has the secure listener."""
    _need(kafka_missing())
    with running_kafka(secure=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka_bootstrap(request):
    """Address of an Apache Kafka, started here or given."""
    return GIVEN_KAFKA or request.getfixturevalue("apache_kafka").bootstrap


@pytest.fixture
def topic_prefix():
    """A prefix of topic names that no other test has."""
    return next(_prefixes)


@pytest.fixture
def kafka_settings(kafka_bootstrap, topic_prefix):
    """Settings of a client of Apache Kafka, with topics of this test alone."""
    return KafkaSettings(kafka_bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)


@pytest.fixture(params=["embedded", "apache"])
def broker_settings(request, topic_prefix):
    """Settings of a client of the embedded broker, then of Apache Kafka."""
    if request.param == "apache":
        bootstrap = request.getfixturevalue("kafka_bootstrap")
        yield KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=topic_prefix)
        return
    with EmbeddedBroker(topic_prefix) as broker:
        yield KafkaSettings(kafka_bootstrap=broker.bootstrap, topic_prefix=topic_prefix)


@pytest.fixture
def kafka_to_break():
    """A node of Apache Kafka of this test's own: kill it, stop it, start it."""
    _need(kafka_missing())
    with running_kafka() as cluster:
        yield cluster


@pytest.fixture
def kafka_cluster():
    """Three nodes of Apache Kafka of this test's own, for failover."""
    _need(kafka_missing())
    with running_kafka(3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def s3_server():
    """A real S3 store with the buckets visits, templates and difference-images."""
    _need(s3_missing())
    with running_s3("visits", "templates", "difference-images") as server:
        yield server


@pytest.fixture
def s3_environment(s3_server, monkeypatch):
    """The store, and this process' environment set so that lsst.resources finds it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def notifying_store():
    """Starts versitygw: ``notifying_store(kafka bootstrap, topic, *buckets)``."""
    _need(versitygw_missing())
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(running_versitygw(*args))


@pytest.fixture(scope="session")
def repository():
    """The root of the repository."""
    return Path(__file__).parents[2]


@pytest.fixture
def delivery(broker_settings, tmp_path):
    """Worker and catalog consumer, to be started by the test."""
    with Delivery(broker_settings, tmp_path) as running:
        yield running
