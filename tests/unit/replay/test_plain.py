"""A replay that lets the database count comes to what one comes to that reads everything."""

import random
from datetime import UTC, datetime
from heapq import merge

import pytest
from sqlalchemy import delete, insert, select
from tests.support.kafka_tools import arrival, arrival_record

from residua.catalog.writing.transaction import open_database
from residua.messaging.records.events import IncomingRecord
from residua.messaging.settings import KafkaSettings
from residua.obscore import arrival_outcome
from residua.replay import Selection, Target
from residua.replay.catalogued.from_catalog import Tail, take_in
from residua.replay.history import History, KnownOutcome
from residua.replay.plain import place_of_row, with_plain
from residua.replay.plan import plan_replay
from residua_schemas import VisitArrival

TOPIC = "visit-arrivals"
RUN = "residua/0/default/0123456789ab"
SELECTIONS = (
    Selection(),
    Selection(states=frozenset({"failed"})),
    Selection(states=frozenset({"none", "created"}), instrument="Sim"),
    Selection(detectors=frozenset({1, 2})),
    Selection(since=datetime.fromtimestamp(1.2, UTC), until=datetime.fromtimestamp(1.7, UTC)),
    Selection(visits=(2, 5)),
)
TARGETS = (Target(), Target(force=True), Target(label="again"), Target(run=f"{RUN}/again"))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('plain')}/catalog.sqlite"
    engine = open_database(url)
    yield url, engine
    engine.dispose()


def rows_of_a_night(rng):
    """Outcomes of some visits: most have one, some several, of several runs and arrivals."""
    found = []
    for n in range(rng.randrange(30)):
        event = arrival(rng.randrange(12), f"v={rng.randrange(2)}", rng.randrange(4))
        event = event.model_copy(update={"remake": rng.randrange(2), "revision": rng.randrange(2)})
        who = event.visit_detector
        found.append(
            {
                "dataset_id": f"{n:036d}",
                "number": n,
                "run": rng.choice([RUN, RUN, RUN, f"{RUN}/again", RUN.replace("default", "old")]),
                "instrument": who.instrument,
                "visit": who.visit,
                "detector": who.detector,
                "outcome": rng.choice(["created", "failed", "skipped"]),
                "day_obs": rng.choice([None, 20260101]),
                "recorded_ms": rng.randrange(1000, 2000),
                "append_time_ms": rng.choice([None, 0, 1000 + n]),
                "arrival_partition": 0,
                "arrival_offset": n,
                "arrival": event.model_dump_json(exclude_none=True),
            }
        )
    return found


def tail_of(rng):
    settings = KafkaSettings(kafka_bootstrap="")
    sent = [arrival_record(settings, arrival(rng.randrange(12))) for _ in range(rng.randrange(3))]
    records = [
        IncomingRecord(TOPIC, 0, 100 + n, r.key, r.value, 1500 + n, (), is_append_time=True)
        for n, r in enumerate(sent)
    ]
    return Tail(records, (), ())


def plan_of_everything(connection, selection, tail, target):
    history = History(selection, TOPIC)
    for row in connection.execute(select(arrival_outcome)):
        event = VisitArrival.model_validate_json(row.arrival)
        known = KnownOutcome(row.outcome, row.number, event.remake, row.day_obs)
        time = row.append_time_ms or row.recorded_ms
        history.note_run(row.run, row.recorded_ms)
        history.keep_outcome(row.run, event, known, place_of_row(row), time)
    for record in tail.arrivals:
        history.add_arrival(record)
    return plan_replay(history, selection, target)


@pytest.mark.parametrize("seed", range(4))
def test_the_database_counts_what_a_history_counts(database, seed):
    url, engine = database
    rng = random.Random(seed)
    plain_seen = 0
    for _ in range(4):
        rows, tail = rows_of_a_night(rng), tail_of(rng)
        with engine.begin() as connection:
            connection.execute(delete(arrival_outcome))
            if rows:
                connection.execute(insert(arrival_outcome), rows)
        for selection in SELECTIONS:
            for target in TARGETS:
                with engine.connect() as connection:
                    wanted = plan_of_everything(connection, selection, tail, target)
                    history, plain = take_in(connection, url, selection, TOPIC, tail, target.run)
                plan = plan_replay(history, selection, target)
                sent = list(plan.arrivals)
                if plain is not None:
                    plain_seen += sum(plain.selected.values())
                    plan = with_plain(plan, plain, target)
                    more = plan.plain.planned(target) if plan.plain else ()
                    sent = list(merge(sent, more, key=lambda p: p.timestamp_ms))
                assert (plan.run, plan.target_run) == (wanted.run, wanted.target_run)
                assert plan.selected == wanted.selected
                assert plan.already_done == wanted.already_done
                assert plan.number == len(wanted.arrivals) == len(sent)
                assert {p.name: p for p in sent} == {p.name: p for p in wanted.arrivals}
                times = [p.timestamp_ms for p in sent]
                assert times == sorted(times)
    assert plain_seen > 0
