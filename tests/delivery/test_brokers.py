"""The real brokers and stores that the other tests lean on do what those tests assume."""

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError
from tests.support.servers import kafka_jars
from tests.support.servers.apache_kafka import kafka_missing, running_kafka
from tests.support.servers.s3 import s3_missing
from tests.support.servers.server_process import free_ports, wait_until
from tests.support.servers.versitygw import versitygw_missing

from residua.messaging.client import OutgoingRecord, read_to_end, send
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import KafkaSettings
from residua_schemas import VISIT_ARRIVALS

REPOSITORY = Path(__file__).parents[2]

START_AND_WAIT = """
import sys, time, tempfile
from pathlib import Path
from tests.support.servers.server_process import ServerProcess, removed_when_we_die
directory = Path(tempfile.mkdtemp(dir=sys.argv[1]))
with removed_when_we_die(directory):
    command = [sys.executable, "-c", "import time; time.sleep(300)", str(directory)]
    server = ServerProcess("server", command, directory)
    server.start(lambda: True)
    print(directory, (directory / "server.pid").read_text(), flush=True)
    time.sleep(300)
"""


def test_servers_end_with_the_process_that_started_them(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    directory, pid = parent.stdout.readline().split()
    assert psutil.pid_exists(int(pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not Path(directory).exists(), "the directory is removed", seconds=60.0)
    wait_until(
        lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie",
        "the server is dead",
        seconds=60.0,
    )


def test_a_killed_broker_keeps_what_it_confirmed(kafka_to_break):
    settings = KafkaSettings(kafka_bootstrap=kafka_to_break.bootstrap)
    asyncio.run(create_topics(settings, partitions=1))
    topic = settings.topic_name(VISIT_ARRIVALS)
    asyncio.run(send(settings, [OutgoingRecord(topic, b"k", b"before")]))
    before = kafka_to_break.bootstrap
    kafka_to_break.kill()
    kafka_to_break.start()
    assert kafka_to_break.bootstrap == before
    asyncio.run(send(settings, [OutgoingRecord(topic, b"k", b"after")]))

    async def values():
        return [r.value async for r in read_to_end(settings, topic)]

    assert asyncio.run(values()) == [b"before", b"after"]


def test_the_store_keeps_objects_over_a_kill(s3_server):
    client = s3_server.client()
    client.put_object(Bucket="visits", Key="night/a b.fits", Body=b"pixels")
    s3_server.kill()
    s3_server.start()
    assert "night/a b.fits" in s3_server.keys("visits", "night/")

    def served():
        # Its volumes come back one by one; until then it answers with an error.
        with suppress(ClientError):
            body = client.get_object(Bucket="visits", Key="night/a b.fits")["Body"].read()
            return body == b"pixels"
        return False

    wait_until(served, "the object is served again", seconds=60.0)


def test_ports_are_free_and_differ():
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(1024 < port < 32_768 for port in ports)


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(kafka_jars.importlib.util, "find_spec", lambda _name: None)
    assert "Java" in kafka_missing()
    assert "weed" in s3_missing()
    assert "go" in versitygw_missing(tmp_path)


def test_jars_that_cannot_be_fetched_are_an_error_with_a_reason(monkeypatch, tmp_path):
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no such artefact'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match="no such artefact"), running_kafka(jars=tmp_path / "x"):
        pass
    assert not (tmp_path / "x").exists()
