"""The wire's security against a real broker: SCRAM and OAUTHBEARER over TLS."""

import asyncio
import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest
from aiokafka.errors import KafkaError
from pydantic import SecretStr, ValidationError
from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.apache_kafka import SCRAM_PASSWORD, SCRAM_USER
from tests.support.servers.certificates import make_certificates

from residua.messaging.client import OutgoingRecord, client_options, read_to_end, send
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import KafkaSettings
from residua_schemas import VISIT_ARRIVALS


@pytest.fixture
def scram(apache_kafka, topic_prefix):
    """Arguments of settings that log in with SCRAM over TLS."""
    return {
        "kafka_bootstrap": apache_kafka.secure_bootstrap,
        "topic_prefix": topic_prefix,
        "kafka_security_protocol": "SASL_SSL",
        "kafka_username": SCRAM_USER,
        "kafka_password": SecretStr(SCRAM_PASSWORD),
        "kafka_ca_file": apache_kafka.certificates.authority,
    }


async def _round_trip(settings):
    await create_topics(settings, partitions=1)
    topic = settings.topic_name(VISIT_ARRIVALS)
    await send(settings, [OutgoingRecord(topic, b"key", b"value")])
    return [r.value async for r in read_to_end(settings, topic)]


async def _log_in(settings):
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(**client_options(settings), request_timeout_ms=4000)
    try:
        await producer.start()
    finally:
        await producer.stop()


def test_scram_over_tls(scram):
    assert asyncio.run(_round_trip(KafkaSettings(**scram))) == [b"value"]


def test_password_from_a_mounted_file(scram, tmp_path):
    file = tmp_path / "password"
    file.write_text(SCRAM_PASSWORD + "\n")
    settings = KafkaSettings(**{**scram, "kafka_password": None, "kafka_password_file": file})
    assert asyncio.run(_round_trip(settings)) == [b"value"]


def test_wrong_password_is_refused(scram, caplog):
    settings = KafkaSettings(**{**scram, "kafka_password": SecretStr("wrong-one")})
    with pytest.raises(KafkaError):
        asyncio.run(_log_in(settings))
    assert "wrong-one" not in caplog.text


def test_broker_of_another_authority_is_refused(scram, tmp_path):
    other = make_certificates(tmp_path)
    settings = KafkaSettings(**{**scram, "kafka_ca_file": other.authority})
    with pytest.raises(KafkaError):
        asyncio.run(_log_in(settings))


def test_plain_client_is_refused(scram):
    settings = KafkaSettings(**{**scram, "kafka_security_protocol": "PLAINTEXT"})
    with pytest.raises(KafkaError):
        asyncio.run(_log_in(settings))


def test_token_from_a_mounted_file(apache_kafka, scram, tmp_path):
    file = tmp_path / "token"
    file.write_text(apache_kafka.tokens.token("residua"))
    settings = KafkaSettings(
        **{**scram, "kafka_sasl_mechanism": "OAUTHBEARER", "kafka_token_file": file}
    )
    assert asyncio.run(_round_trip(settings)) == [b"value"]


def test_expired_token_is_refused(apache_kafka, scram, tmp_path):
    file = tmp_path / "token"
    file.write_text(apache_kafka.tokens.token("residua", lifetime=-600.0))
    settings = KafkaSettings(
        **{**scram, "kafka_sasl_mechanism": "OAUTHBEARER", "kafka_token_file": file}
    )
    # aiokafka does not read the refusal; the broker answers nothing more on that connection.
    with pytest.raises((KafkaError, TimeoutError)):
        asyncio.run(asyncio.wait_for(_round_trip(settings), 15.0))


@pytest.fixture
def token_endpoint(apache_kafka):
    """A token endpoint (RFC 6749) and the requests it got."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            requests.append((self.headers["Authorization"], form))
            answer = {"access_token": apache_kafka.tokens.token("residua"), "expires_in": 600}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/token", requests
    server.shutdown()
    server.server_close()


def test_token_from_an_endpoint(scram, token_endpoint):
    url, requests = token_endpoint
    settings = KafkaSettings(
        **{
            **scram,
            "kafka_sasl_mechanism": "OAUTHBEARER",
            "kafka_token_url": url,
            "kafka_client_id": "worker",
            "kafka_client_secret": SecretStr("a:b"),
            "kafka_token_scope": "kafka",
        }
    )
    assert asyncio.run(_round_trip(settings)) == [b"value"]
    authorization, form = requests[0]
    assert authorization == "Basic " + b64encode(b"worker:a%3Ab").decode()
    assert form == {"grant_type": ["client_credentials"], "scope": ["kafka"]}


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"kafka_username": None}, "kafka_username"),
        ({"kafka_password": None}, "kafka_password"),
        ({"kafka_sasl_mechanism": "OAUTHBEARER"}, "kafka_token_file"),
        (
            {"kafka_sasl_mechanism": "OAUTHBEARER", "kafka_token_url": "http://example.org/t"},
            "https",
        ),
        (
            {"kafka_sasl_mechanism": "OAUTHBEARER", "kafka_token_url": "https://example.org/t"},
            "kafka_client_id",
        ),
    ],
)
def test_incomplete_settings_are_refused_at_the_start(settings, missing):
    complete = {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_username": "u",
        "kafka_password": SecretStr("p"),
    }
    with pytest.raises(ValidationError, match=missing):
        KafkaSettings(**{**complete, **settings})


def test_secrets_do_not_show(scram):
    settings = KafkaSettings(**scram, kafka_client_secret=SecretStr("also-secret"))
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert SCRAM_PASSWORD not in text
        assert "also-secret" not in text


@pytest.fixture(params=["SCRAM-SHA-512", "OAUTHBEARER"])
def credentials(request, scram, apache_kafka, tmp_path):
    """Settings of each mechanism, as environment variables carry them, and the secret word."""
    if request.param == "SCRAM-SHA-512":
        return {**scram, "kafka_password": SCRAM_PASSWORD}, SCRAM_PASSWORD
    file, token = tmp_path / "token", apache_kafka.tokens.token("residua")
    file.write_text(token)
    others = {k: v for k, v in scram.items() if k not in {"kafka_username", "kafka_password"}}
    mechanism = {"kafka_sasl_mechanism": "OAUTHBEARER", "kafka_token_file": file}
    return {**others, **mechanism}, token


def test_worker_and_catalog_serve_over_sasl_and_tls_and_log_no_secret(credentials, tmp_path):
    security, secret = credentials
    with Delivery(KafkaSettings(**security), tmp_path) as delivery:
        options = {**security, "log_level": "DEBUG"}
        services = [delivery.start_worker(**options), delivery.start_catalog(**options)]
        poison = OutgoingRecord(delivery.settings.topic_name(VISIT_ARRIVALS), b"k", b"not json")
        delivery.send([arrival(1), poison])
        account = delivery.wait(
            lambda a: a.outcomes and a.rows and a.dead_letters, alive=services, seconds=240.0
        )
        assert [o.outcome for o in account.outcomes] == ["created"]
        assert [d.value for d in account.dead_letters] == [b"not json"]
        for service in services:
            assert service.text()
            assert secret not in service.text()


def test_event_that_is_too_large_becomes_a_dead_letter_and_the_worker_goes_on(
    apache_kafka, kafka_settings, tmp_path
):
    with Delivery(kafka_settings, tmp_path) as delivery:
        topic = kafka_settings.topic_name(VISIT_ARRIVALS)
        apache_kafka.allow_large_records(topic, 5_000_000)
        worker = delivery.start_worker()
        good = arrival(1)
        padded = good.model_dump_json(exclude_none=True)[:-1].encode()
        # One is kept whole in its dead letter, the other is too large for that as well.
        sizes = (1_200_000, 2_600_000)
        large = [padded + b', "x": "' + b"x" * size + b'"}' for size in sizes]
        delivery.send([OutgoingRecord(topic, b"k", value) for value in large])
        delivery.send([good])
        account = delivery.wait(
            lambda a: len(a.dead_letters) == 2 and a.outcomes, alive=[worker], seconds=240.0
        )
        kept = sorted((d.value for d in account.dead_letters), key=lambda v: v is None)
        assert kept == [large[0], None]
        why = {d.value is None: d.message for d in account.dead_letters}
        assert "1048576 are read" in why[False]
        assert "too large" in why[True]
