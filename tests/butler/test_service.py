"""The registrar as a real process on a broker: offsets, poison, SIGKILL, the whole topic again."""

import asyncio
import os
import signal
import time

import pytest
from lsst.daf.butler import Butler
from sqlalchemy.exc import OperationalError
from tests.support.service_process import ServiceProcess

from residua.messaging.client import OutgoingRecord, event_record, read_to_end, send
from residua.messaging.settings import KafkaSettings
from residua.testing.difference_images import difference_image_event, template_event
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    TEMPLATE_COADDS,
    DeadLetter,
    DifferenceImageFailed,
    DifferenceImageSkipped,
)
from residua_schemas.examples import examples

VISIT = 2024110800000
IMAGES = 24


@pytest.fixture
def registry_url():
    """SQLite: what the processes do does not depend on the registry."""
    return


@pytest.fixture
def settings():
    with EmbeddedBroker() as broker:
        yield KafkaSettings(kafka_bootstrap=broker.bootstrap)


@pytest.fixture
def start(settings, repo, tmp_path):
    """Start a registrar in a consumer group."""
    running = []

    def start_one(group: str) -> ServiceProcess:
        environment = {
            **os.environ,
            "RESIDUA_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "RESIDUA_BUTLER_REPO": repo,
            "RESIDUA_BUTLER_GROUP": group,
            "RESIDUA_BUTLER_BATCH_RECORDS": "7",
            "RESIDUA_BUTLER_SESSION_TIMEOUT": "6",
            "RESIDUA_OUTPUT_ROOT": str(tmp_path),
            "RESIDUA_TEMPLATE_ROOTS": f'["{tmp_path}"]',
        }
        name = f"butler{len(running)}"
        running.append(ServiceProcess(name, "residua.butler", environment, tmp_path))
        return running[-1]

    yield start_one
    for process in running:
        process.kill()


def datasets(repo):
    try:
        with Butler.from_config(repo) as butler:
            return sorted(
                (str(ref.id), ref.run)
                for name in ("difference_image", "template_coadd")
                for ref in butler.query_datasets(name, "*", find_first=False, explain=False)
            )
    except OperationalError as e:
        # While the registrar writes, or the journal of a killed one is there, SQLite lets no
        # reader in: whoever waits looks again.
        if not any(reason in str(e) for reason in ("locked", "readonly")):
            raise
        return []


def dead_letters(settings):
    async def read():
        topic = settings.topic_name(DEAD_LETTERS)
        records = [record async for record in read_to_end(settings, topic)]
        return {r.key: DeadLetter.model_validate_json(r.value) for r in records}

    return asyncio.run(read())


def wait(condition, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.exit_code is None, process.log.read_text()[-3000:]
        assert time.monotonic() < deadline, process.log.read_text()[-3000:]
        time.sleep(0.3)


def outcome(settings, event):
    topic = settings.topic_name(DIFFERENCE_IMAGES)
    return event_record(topic, event, event.visit_detector.key, source="/test")


@pytest.mark.timeout(1200)
def test_the_topic_becomes_the_repository_whatever_happens(
    settings, start, repo, tmp_path, empty_files
):
    uris = empty_files(IMAGES + 1)
    images = [difference_image_event(VISIT + n // 3, n % 3, uris[n]) for n in range(IMAGES)]
    template = template_event(3, uris[IMAGES])
    missing = difference_image_event(VISIT, 8, (tmp_path / "never.fits").as_uri())
    outcomes = settings.topic_name(DIFFERENCE_IMAGES)
    templates = settings.topic_name(TEMPLATE_COADDS)
    records = [
        *(outcome(settings, image) for image in images[:10]),
        outcome(settings, missing),
        OutgoingRecord(outcomes, b"poison", b'{"outcome": '),
        OutgoingRecord(outcomes, b"nothing", None),
        outcome(settings, examples()[DifferenceImageSkipped]),
        outcome(settings, examples()[DifferenceImageFailed]),
        event_record(templates, template, template.key, source="/test"),
        OutgoingRecord(templates, b"poison", b"[]"),
        OutgoingRecord(templates, template.key, None),
        *(outcome(settings, image) for image in images[10:]),
    ]
    wanted = sorted(
        [(str(image.dataset_id), image.run) for image in images]
        + [(str(template.dataset_id), "residua/templates/dp1")]
    )
    asyncio.run(send(settings, records[:-8]))

    # Killed in the middle, and taken up again.
    first = start("one")
    wait(lambda: len(datasets(repo)) > 0, first)
    first.kill()
    asyncio.run(send(settings, records[-8:]))
    second = start("one")
    wait(lambda: datasets(repo) == wanted and len(dead_letters(settings)) == 4, second)

    letters = dead_letters(settings).values()
    assert sorted(letter.error for letter in letters) == [
        "MalformedEventError",
        "MalformedEventError",
        "MalformedEventError",
        "MissingFileError",
    ]
    assert {letter.service for letter in letters} == {"butler"}
    [lost] = [letter for letter in letters if letter.error == "MissingFileError"]
    assert lost.value == outcome(settings, missing).value

    second.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 240
    while second.exit_code is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert second.exit_code == 0, second.log.read_text()[-3000:]

    # The whole topic once more, as a new group: the same repository.
    third = start("two")
    wait(lambda: third.log.read_text().count('"event": "batch"') >= 4, third)
    time.sleep(2)
    assert third.exit_code is None
    assert datasets(repo) == wanted
    assert len(dead_letters(settings)) == 4
