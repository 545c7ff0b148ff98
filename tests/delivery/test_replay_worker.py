"""Replay through the real worker: forced into the same run, and into a new one."""

import asyncio
import time

import pytest

from residua.cli.services import ServiceProcesses
from residua.kafka import event_record, read_to_end, send
from residua.replay import REPLAY_HEADER, Selection, Target
from residua.replay.operation import run_replay
from residua.worker.main import run_worker
from residua.worker.settings import WorkerSettings
from residua_schemas import (
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    VisitArrival,
    VisitDetector,
    outcome_from_json,
)


@pytest.fixture
def worker(broker_settings, tmp_path):
    """Settings of a running worker; the visit images it is asked for are not there."""
    settings = WorkerSettings(
        kafka_bootstrap=broker_settings.kafka_bootstrap,
        topic_prefix=broker_settings.topic_prefix,
        input_roots=(str(tmp_path),),
        output_root=str(tmp_path / "out"),
        topic_partitions=2,
    )
    with ServiceProcesses(tmp_path / "logs") as services:
        services.start("worker", run_worker, settings)
        yield settings, services


async def _outcomes(settings):
    topic = settings.topic_name(DIFFERENCE_IMAGES)
    return [
        (outcome_from_json(r.value), dict(r.headers)) async for r in read_to_end(settings, topic)
    ]


def wait_for_outcomes(settings, services, number):
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        services.check()
        found = asyncio.run(_outcomes(settings))
        if len(found) >= number:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"no {number} outcomes in 120 s")


def test_replay_ends_in_the_run_that_was_asked_for(worker, tmp_path):
    settings, services = worker
    arrival = VisitArrival(
        visit_detector=VisitDetector(instrument="LSSTCam", visit=7, detector=3),
        band="r",
        image_uri=str(tmp_path / "missing.fits"),
    )
    record = event_record(
        settings.topic_name(VISIT_ARRIVALS), arrival, arrival.visit_detector.key, source="/test"
    )
    time.sleep(1.0)
    asyncio.run(send(settings, [record]))
    [(first, headers)] = wait_for_outcomes(settings, services, 1)
    assert (first.outcome, first.error, first.revision) == ("failed", "MissingFileError", 0)
    assert REPLAY_HEADER not in headers

    selection = Selection(states=frozenset({"failed"}))
    assert asyncio.run(run_replay(settings, selection, Target())).sent == 0
    asyncio.run(run_replay(settings, selection, Target(force=True)))
    *_, (second, headers) = wait_for_outcomes(settings, services, 2)
    assert (second.run, second.dataset_id, second.revision) == (first.run, first.dataset_id, 1)
    assert REPLAY_HEADER in headers

    report = asyncio.run(run_replay(settings, selection, Target(label="better")))
    assert report.target_run == f"{first.run}/better"
    *_, (third, headers) = wait_for_outcomes(settings, services, 3)
    assert third.run == report.target_run
    assert third.dataset_id != first.dataset_id
    assert headers[REPLAY_HEADER].decode() == report.replay
    # The new run has its outcome now.
    assert asyncio.run(run_replay(settings, selection, Target(label="better"))).sent == 0
