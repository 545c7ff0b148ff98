"""The night's ledger: announcements and arrivals in any order, their account, its one summary."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from residua.catalog.night_accounts import close_nights, summary_of
from residua.catalog.rows import Site
from residua.catalog.writing import transaction
from residua.catalog.writing.transaction import open_database, write_batch
from residua.identity import publisher_did
from residua.messaging.records.events import IncomingRecord
from residua.obscore import obsplan
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    Event,
    NextVisit,
    NightSummary,
    VisitArrival,
    VisitDetector,
)
from residua_schemas.examples import examples

FIRST_MS = 1_731_129_700_000
NEXT, ARRIVAL = examples()[NextVisit], examples()[VisitArrival]
CREATED, FAILED = examples()[DifferenceImageCreated], examples()[DifferenceImageFailed]
DAY, INSTRUMENT, VISIT = 20241108, "LSSTComCam", 2024110800253
GROUP = "2024-11-09T05:21:30.000"


def record(topic: str, event: Event, number: int) -> IncomingRecord:
    value = event.model_dump_json(exclude_none=True).encode()
    return IncomingRecord(topic, 0, number, b"", value, FIRST_MS + 1000 * number)


def who(detector: int) -> VisitDetector:
    return VisitDetector(instrument=INSTRUMENT, visit=VISIT, detector=detector)


def announced(number: int, *detectors: int, visit: int | None = VISIT, group: str | None = None):
    event = NEXT.model_copy(update={"visit": visit, "detectors": detectors, "group": group})
    return record("next-visits", event, number)


def arrived(number: int, detector: int, group: str | None = None):
    event = ARRIVAL.model_copy(update={"visit_detector": who(detector), "group": group})
    return record("visit-arrivals", event, number)


def outcome(number: int, detector: int, kind=CREATED, run: str = CREATED.run):
    arrival = ARRIVAL.model_copy(update={"visit_detector": who(detector)})
    dataset = UUID(f"00000000-0000-0000-0000-{len(run):06d}{detector:06d}")
    values = {"visit_detector": who(detector), "arrival": arrival, "run": run}
    if kind is CREATED:
        values["obs_publisher_did"] = publisher_did("org.residua", dataset)
    event = kind.model_copy(update=values | {"dataset_id": dataset})
    return record("difference-images", event, number)


@pytest.fixture
def engine(tmp_path: Path):
    made = open_database(f"sqlite:///{tmp_path}/catalog.sqlite")
    yield made
    made.dispose()


def write(engine, *records: IncomingRecord, at_once: bool = False) -> None:
    for batch in [records] if at_once else [[r] for r in records]:
        assert write_batch(engine, batch, "difference-images", Site()).refused == ()


def plans(engine) -> list[dict]:
    with engine.connect() as connection:
        query = select(obsplan).order_by(obsplan.c.plan_id)
        return [
            {k: v for k, v in row.items() if k != "row_id"}
            for row in connection.execute(query).mappings()
        ]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_order_of_the_topics_does_not_matter(at_once: bool, tmp_path: Path):
    known = [
        announced(0, 1, 2, visit=None, group=GROUP),
        arrived(1, 1, group=GROUP),
        outcome(2, 1),
    ]
    found = []
    for n, order in enumerate(itertools.permutations(known)):
        engine = open_database(f"sqlite:///{tmp_path}/{n}.sqlite")
        write(engine, *order, *order, at_once=at_once)
        found.append(plans(engine))
        engine.dispose()
    assert all(f == found[0] for f in found)
    first, second = found[0]
    assert (first["planned"], first["arrived"], second["planned"], second["arrived"]) == (
        1,
        1,
        1,
        0,
    )
    # The other detector was exposed as well: something of its visit has arrived.
    assert first["execution_status"] == second["execution_status"] == "Performed"
    assert first["obs_id"] == second["obs_id"] == f"{INSTRUMENT}-{VISIT}"
    assert first["s_resolution"] == 0.88
    assert first["t_plan_exptime"] == first["t_exptime"] == 30.0


def test_what_is_only_announced_is_scheduled(engine):
    write(engine, announced(0, 4), announced(1, visit=None, group="later"))
    scheduled, of_all = plans(engine)
    assert scheduled["execution_status"] == of_all["execution_status"] == "Scheduled"
    assert (scheduled["lsst_detector"], of_all["lsst_detector"]) == (4, None)
    assert (scheduled["planned"], of_all["planned"]) == (1, 0)
    assert scheduled["day_obs"] == DAY
    assert scheduled["s_region"].startswith("POLYGON ICRS")
    assert of_all["obs_id"] == f"{INSTRUMENT}-later"
    assert scheduled["t_max"] - scheduled["t_min"] == pytest.approx(30.0 / 86_400.0)


def test_what_cannot_be_read_is_the_workers_to_bury(engine):
    bad = IncomingRecord("visit-arrivals", 0, 0, b"", b"no JSON", FIRST_MS)
    worse = IncomingRecord("next-visits", 0, 0, b"", None, FIRST_MS)
    write(engine, bad, worse, arrived(1, 3), at_once=True)
    assert [row["lsst_detector"] for row in plans(engine)] == [3]


def test_a_night_is_accounted_for(engine):
    write(engine, announced(0, 1, 2, 3, 4), *(arrived(n, n) for n in (1, 2, 3)))
    write(engine, outcome(5, 1), outcome(6, 2, FAILED))
    with engine.connect() as connection:
        found = summary_of(connection, INSTRUMENT, DAY, CREATED.run, datetime.now(UTC))
    assert (found.visits, found.planned, found.exposed, found.arrived) == (1, 4, 4, 3)
    assert (found.created, found.skipped, found.failed, found.public) == (1, 0, 1, 1)
    [failure] = found.failures
    assert (failure.error, failure.responsible, failure.count) == (
        FAILED.error, FAILED.responsible, 1,
    )  # fmt: skip


def test_a_night_is_closed_once_when_it_is_over(engine):
    write(engine, announced(0, 1), arrived(1, 1), outcome(2, 1))
    sent: list = []
    noon = datetime(2024, 11, 9, 12, tzinfo=UTC)

    def close(hours_after_noon: float) -> int:
        now = noon + timedelta(hours=hours_after_noon)
        return close_nights(engine, sent.extend, "night-summaries", now, 2.0)

    assert close(1.9) == 0
    assert close(2.1) == 1
    # Not again, nor for the run of a replay that begins after the night.
    late = round((noon + timedelta(hours=5)).timestamp() * 1000.0 - FIRST_MS) // 1000
    write(engine, outcome(late, 1, run="again/0/dp1/000000000000"))
    assert close(6.0) == 0
    [only] = sent
    event = NightSummary.model_validate_json(only.value)
    assert only.key == f"{INSTRUMENT}/{DAY}/{CREATED.run}".encode()
    assert (event.created, event.closed) == (1, noon + timedelta(hours=2.1))


def test_what_was_announced_and_never_came_is_not_scheduled_for_ever(engine):
    write(engine, announced(0, 1, 2, visit=None, group=GROUP), announced(1, 4, visit=VISIT + 1))
    noon = datetime(2024, 11, 9, 12, tzinfo=UTC)

    def statuses(hours_after_noon: float) -> list[str]:
        now = noon + timedelta(hours=hours_after_noon)
        close_nights(engine, lambda _: None, "night-summaries", now, 2.0)
        return [row["execution_status"] for row in plans(engine)]

    assert statuses(1.9) == ["Scheduled"] * 3
    assert statuses(2.1) == ["Unscheduled"] * 3
    # Announced once more, it stays as it is; what comes after all was exposed, all of its visit.
    write(engine, announced(9, 4, visit=VISIT + 1), arrived(10, 1, group=GROUP))
    assert statuses(2.2) == ["Performed", "Performed", "Unscheduled"]
    assert {r["lsst_visit"] for r in plans(engine)} == {VISIT, VISIT + 1}


def test_a_summary_that_the_brokers_do_not_take_is_sent_later(engine):
    write(engine, arrived(1, 1), outcome(2, 1))
    now = datetime(2024, 11, 10, tzinfo=UTC)

    def away(_records) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        close_nights(engine, away, "night-summaries", now, 2.0)
    sent: list = []
    assert close_nights(engine, sent.extend, "night-summaries", now, 2.0) == 1
    assert len(sent) == 1


def test_nights_of_long_ago_are_left_alone(engine):
    write(engine, arrived(1, 1), outcome(2, 1))
    now = datetime(2025, 6, 1, tzinfo=UTC)
    assert close_nights(engine, lambda _: pytest.fail("sent"), "night-summaries", now, 2.0) == 0


@pytest.mark.parametrize("topic", ["next-visits", "visit-arrivals", "difference-images"])
@pytest.mark.parametrize(
    "sent_ms", [-1, 0, FIRST_MS, FIRST_MS * 1000, 253_402_300_799_999, 2**63 - 1]
)
def test_whatever_time_a_record_has_it_is_a_row(topic, sent_ms, tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/catalog.sqlite")
    # Of an announcement that does not say when, the record's time is all there is.
    undated = NEXT.model_copy(update={"visit": VISIT, "begin_tai": None, "day_obs": None})
    sent = {
        "next-visits": record(topic, undated, 0),
        "visit-arrivals": arrived(0, 1),
        "difference-images": outcome(0, 1),
    }[topic]
    result = write_batch(engine, [replace(sent, timestamp_ms=sent_ms)], "difference-images", Site())
    assert result.refused == ()
    with engine.connect() as connection:
        days = connection.scalars(select(obsplan.c.day_obs)).all()
        assert days
        assert all(19691231 <= day <= 99991231 for day in days)
    engine.dispose()


def test_an_arrival_that_cannot_be_a_row_has_no_second_letter(tmp_path, monkeypatch):
    engine = open_database(f"sqlite:///{tmp_path}/catalog.sqlite")

    def fail(*_):
        raise OverflowError("no such time")

    monkeypatch.setattr(transaction, "arrived_row", fail)
    sent = [arrived(0, 1), announced(1, 1)]
    assert write_batch(engine, sent, "difference-images", Site()).refused == ()
    with engine.connect() as connection:
        assert connection.scalars(select(obsplan.c.planned)).all() == [1]
    engine.dispose()
