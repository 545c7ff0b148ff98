"""The short fault campaign: on Kafka, S3 and PostgreSQL where they can run, and on the defaults."""

import json
import subprocess
import sys

import pytest
from tests.delivery.soak import Memory
from tests.delivery.supervisor import CATALOG, WORKERS
from tests.support.servers.apache_kafka import kafka_missing
from tests.support.servers.postgres import postgres_missing
from tests.support.servers.s3 import s3_missing

SHORT = ["--arrivals", "20", "--faults", "8", "--patience", "600", "--forked"]
SHORTER = ["--arrivals", "14", "--faults", "5", "--patience", "600", "--forked"]


def campaign(repository, tmp_path, *options):
    report = tmp_path / "campaign.json"
    command = [sys.executable, "-m", "tests.delivery.campaign", *options, "--json", str(report)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(report.read_text())


@pytest.mark.timeout(1200)
def test_a_short_campaign_balances(repository, tmp_path):
    reason = kafka_missing() or s3_missing() or postgres_missing("pg_sphere")
    if reason:
        pytest.skip(reason)
    found = campaign(repository, tmp_path, *SHORT, "--seed", "7")
    assert found["arrivals"] == found["outcomes"] >= 20
    assert found["complaints"] == []
    assert found["duplicates"] == found["lost"] == 0
    assert found["faults"] == len(found["fault_kinds"]) == 8


@pytest.mark.timeout(1200)
def test_a_short_campaign_balances_on_the_embedded_defaults(repository, tmp_path):
    found = campaign(repository, tmp_path, *SHORTER, "--seed", "8", "--embedded")
    assert found["arrivals"] == found["outcomes"] >= 14
    assert found["complaints"] == []
    assert found["duplicates"] == found["lost"] == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_long_campaign_balances(repository, tmp_path):
    reason = kafka_missing() or s3_missing() or postgres_missing("pg_sphere")
    if reason:
        pytest.skip(reason)
    options = ["--arrivals", "300", "--faults", "100", "--seed", "2", "--patience", "900"]
    found = campaign(repository, tmp_path, *options)
    assert found["faults"] == 100
    assert len(found["fault_kinds"]) >= 10


# A service is as large in its second half as in its first, but for the catalog whose cache fills.
STEADY, FILLING = [229.0] * 400, [180.0] * 100 + [244.0] * 300


@pytest.mark.parametrize(
    ("name", "samples", "grown"),
    [
        (WORKERS[0], [229.0] * 60, 0.0),
        # A leak, in one that lived for long and in one that was killed soon after.
        (WORKERS[0], [229.0] * 200 + [280.0] * 200, 0.22),
        (WORKERS[0], [229.0] * 30 + [280.0] * 30, 0.22),
        (CATALOG, [180.0] * 30 + [240.0] * 30, 0.0),
        (CATALOG, [180.0] * 30 + [293.0] * 30, 0.2),
        # It has only just begun.
        (CATALOG, [1.0] * 10 + [500.0] * 10, 0.0),
    ],
)
def test_a_soak_sees_memory_that_grows_in_old_and_in_young_processes(name, samples, grown):
    memory = Memory(None)
    memory.samples |= {("steady", 1): STEADY, (CATALOG, 2): FILLING, (name, 3): samples}
    assert memory.growth() == pytest.approx(grown, abs=0.01)


def test_a_soak_too_short_for_old_processes_holds_the_young_against_themselves():
    memory = Memory(None)
    memory.samples |= {("steady", 1): [200.0] * 60, (CATALOG, 2): [200.0] * 30 + [240.0] * 30}
    assert memory.growth() == pytest.approx(0.2)
