"""Records nobody should send, to services as they run: no crash, and no partition stands still."""

import asyncio
import json
import time
from uuid import UUID

import pytest
from pydantic import ValidationError
from tests.support.kafka_tools import Delivery, arrival
from tests.support.mutations import mutated_records

from residua.errors import MalformedEventError
from residua.identity import dataset_id
from residua.messaging.client import OutgoingRecord, read_to_end
from residua.messaging.records.envelopes import read_value
from residua.replay import run_label
from residua.worker.settings import WorkerSettings
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    DeadLetter,
    DifferenceImageCreated,
    VisitArrival,
    outcome_from_json,
)
from residua_schemas.examples import examples

# Apache Kafka, as an observatory has it; with ``-m slow`` the embedded broker too.
on_apache = pytest.mark.parametrize(
    "broker_settings",
    ["apache", pytest.param("embedded", marks=pytest.mark.slow)],
    indirect=True,
)

SEED = 20261122
EXAMPLES = examples()
CREATED = EXAMPLES[DifferenceImageCreated]
OUTCOMES = [
    *((e.key, e) for e in EXAMPLES.values() if hasattr(e, "outcome")),
    *((CREATED.key, CREATED.model_copy(update={"dataset_id": UUID(int=n)})) for n in range(40)),
]


def outgoing(topic, mutants):
    return [OutgoingRecord(topic, m.key, m.value, m.headers) for m in mutants]


@on_apache
@pytest.mark.timeout(1500)
def test_services_serve_whatever_comes(broker_settings, tmp_path):
    number = 300
    prefix = broker_settings.topic_name
    with Delivery(broker_settings, tmp_path) as delivery:
        services = [delivery.start_worker(), delivery.start_catalog()]
        # The stand-in does what the part after "?" says: mutated, it must not say "hang".
        plain = arrival(5)
        mutants = mutated_records([(plain.visit_detector.key, plain)], number, SEED)
        delivery.send(outgoing(prefix(VISIT_ARRIVALS), mutants))
        bad = list(mutated_records(OUTCOMES, number, SEED))
        delivery.send(outgoing(prefix(DIFFERENCE_IMAGES), bad))
        # After all of them, a good one for every partition and then some.
        good = [arrival(10_000 + n) for n in range(16)]
        delivery.send(good)
        wanted = {str(dataset_of(delivery, a)) for a in good}
        # Not the whole account: it takes the outcomes' topic at its word.
        wait(lambda: wanted <= set(delivery._rows()), services, 400.0)
        wait(lambda: delivery.worker_lag() == delivery.catalog_lag() == 0, services, 400.0)
        # With those the worker sent: an arrival that a stale one followed is made again.
        arrivals = len(asyncio.run(_records(broker_settings, VISIT_ARRIVALS)))
        answers = len(letters(broker_settings, "worker")) + len(outcomes(broker_settings))
        assert answers == arrivals >= number + len(good)
        refused = sum(not readable(m.value) for m in bad)
        assert len(letters(broker_settings, "catalog")) >= refused
        assert [s.exit_code for s in services] == [None, None]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_real_worker_serves_ten_thousand(kafka_settings, s3_server, tmp_path):
    number = 10_000
    plain = EXAMPLES[VisitArrival]
    mutants = list(mutated_records([(plain.visit_detector.key, plain)], number, SEED + 1))
    with Delivery(kafka_settings, tmp_path, s3=s3_server) as delivery:
        delivery.send(outgoing(kafka_settings.topic_name(VISIT_ARRIVALS), mutants))
        worker = delivery.start_worker(
            module="residua.worker",
            input_roots=json.dumps([str(tmp_path / "in"), "s3://visits"]),
            template_set="dp1",
        )
        wait(lambda: delivery.worker_lag() == 0, [worker], 3000.0, pause=2.0)
        buried, served = letters(kafka_settings, "worker"), outcomes(kafka_settings)
        assert worker.stop() == 0
    # Every one a dead letter with its bytes or a valid outcome, and none twice.
    assert len(buried) + len(served) == number
    arrivals = [m.value for m in mutants if is_served(m)]
    assert sorted(o.arrival.model_dump_json() for o in served) == sorted(
        VisitArrival.model_validate_json(value).model_dump_json() for value in arrivals
    )
    unread = [m.value for m in mutants if not is_served(m)]
    assert sorted(d.value or b"" for d in buried) == sorted(value or b"" for value in unread)


def dataset_of(delivery, event):
    settings = WorkerSettings(output_root=str(delivery.output))
    return dataset_id(settings.run.name, event.visit_detector)


def readable(value):
    try:
        read_value(value or b"", outcome_from_json)
    except (ValidationError, MalformedEventError):
        return False
    return True


def is_served(mutant):
    """Whether it is an arrival, and its headers name no impossible run."""
    try:
        read_value(mutant.value or b"", VisitArrival.model_validate_json)
        run_label(mutant.headers)
    except (ValidationError, MalformedEventError):
        return False
    return True


async def _records(settings, topic):
    return [r async for r in read_to_end(settings, settings.topic_name(topic))]


def letters(settings, service):
    """Dead letters of a service, one for each place."""
    found = {r.key: r.value for r in asyncio.run(_records(settings, DEAD_LETTERS))}
    read = [DeadLetter.model_validate_json(value) for value in found.values()]
    return [letter for letter in read if letter.service == service]


def outcomes(settings):
    """Every outcome event that the worker published."""
    records = asyncio.run(_records(settings, DIFFERENCE_IMAGES))
    ours = [r for r in records if dict(r.headers).get("ce_source") == b"/residua/worker"]
    return [outcome_from_json(r.value) for r in ours]


def wait(condition, services, seconds, pause=0.3):
    deadline = time.monotonic() + seconds
    while not condition():
        for service in services:
            assert service.exit_code is None, service.text()[-3000:]
        assert time.monotonic() < deadline, [s.text()[-2000:] for s in services]
        time.sleep(pause)
