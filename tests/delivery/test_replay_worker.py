"""Replay through the real worker: forced into the same run, and into a new one."""

import asyncio

import pytest
from tests.support.kafka_tools import arrival

from residua.messaging.client import read_to_end
from residua.replay import REPLAY_HEADER, Selection, Target
from residua.replay.operation import run_replay
from residua_schemas import DIFFERENCE_IMAGES, outcome_from_json

# Apache Kafka, as an observatory has it; with ``-m slow`` the embedded broker too.
on_apache = pytest.mark.parametrize(
    "broker_settings",
    ["apache", pytest.param("embedded", marks=pytest.mark.slow)],
    indirect=True,
)


async def _marked(settings):
    """Whether each outcome carries the mark of a replay, by run and revision."""
    topic = settings.topic_name(DIFFERENCE_IMAGES)
    found = {}
    async for record in read_to_end(settings, topic):
        outcome = outcome_from_json(record.value)
        mark = dict(record.headers).get(REPLAY_HEADER)
        found[outcome.run, outcome.revision] = None if mark is None else mark.decode()
    return found


@on_apache
def test_replay_ends_in_the_run_that_was_asked_for(delivery):
    settings = delivery.settings
    worker = delivery.start_worker()
    catalog = delivery.start_catalog()
    delivery.send([arrival(7, "fail&once")])
    account = delivery.wait(lambda a: len(a.outcomes) == 1, alive=[worker], seconds=240.0)
    [first] = account.outcomes
    assert (first.outcome, first.revision) == ("failed", 0)

    selection = Selection(states=frozenset({"failed"}))
    assert asyncio.run(run_replay(settings, selection, Target())).sent == 0
    forced = asyncio.run(run_replay(settings, selection, Target(force=True)))
    assert forced.sent == 1
    account = delivery.wait(
        lambda a: len(a.rows) == 1 and len(a.outcomes) == 2, alive=[worker, catalog], seconds=240.0
    )
    [(_, second)] = [(o.revision, o) for o in account.outcomes if o.revision == 1]
    assert (second.outcome, second.run) == ("created", first.run)
    assert second.dataset_id == first.dataset_id

    chosen = Selection(visits=(7, 7))
    report = asyncio.run(run_replay(settings, chosen, Target(label="better")))
    assert report.target_run == f"{first.run}/better"
    account = delivery.wait(
        lambda a: len(a.rows) == 2 and len(a.outcomes) == 3, alive=[worker, catalog], seconds=240.0
    )
    [third] = [o for o in account.outcomes if o.run == report.target_run]
    assert third.dataset_id != first.dataset_id
    assert set(account.rows) == {str(first.dataset_id), str(third.dataset_id)}
    assert len(account.files) == 2
    # The new run has its outcome now.
    assert asyncio.run(run_replay(settings, chosen, Target(label="better"))).sent == 0
    assert asyncio.run(_marked(settings)) == {
        (first.run, 0): None,
        (first.run, 1): forced.replay,
        (report.target_run, third.revision): report.replay,
    }
