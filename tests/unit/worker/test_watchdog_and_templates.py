"""The watchdog's three complaints, and the template index."""

import time
from uuid import uuid4

import pytest

from residua.errors import MalformedEventError
from residua.messaging.records.events import IncomingRecord
from residua.worker.templates.in_force import Templates
from residua.worker.watchdog import EXIT_CODE, SignsOfLife, Watchdog, starved_seconds
from residua_schemas import SkyPolygon, TemplateCoadd
from residua_schemas.examples import examples


def make_watchdog(signs, rebalancing=lambda: False, **options):
    limits = {"rebalance_limit": 30.0, "message_age_limit": 60.0, "loop_limit": 10.0}
    return Watchdog(signs, rebalancing, **{**limits, **options})


def test_a_healthy_worker_gives_no_complaint():
    signs = SignsOfLife(loop_seen=100.0, in_hand_since=95.0)
    assert make_watchdog(signs).complaint(101.0) is None


def test_a_rebalance_may_last_its_limit_and_no_longer():
    now = {"rebalancing": True}
    signs = SignsOfLife(loop_seen=1e9)
    watchdog = make_watchdog(signs, lambda: now["rebalancing"])
    assert watchdog.complaint(0.0) is None
    assert watchdog.complaint(29.0) is None
    assert "rebalancing for 31 s" in watchdog.complaint(31.0)
    now["rebalancing"] = False
    assert watchdog.complaint(32.0) is None
    now["rebalancing"] = True
    assert watchdog.complaint(33.0) is None


def test_an_arrival_in_hand_too_long_is_a_complaint():
    signs = SignsOfLife(loop_seen=1e9, in_hand_since=5.0)
    assert make_watchdog(signs).complaint(64.0) is None
    assert "in hand for 61 s" in make_watchdog(signs).complaint(66.0)


def test_a_blocked_event_loop_is_a_complaint():
    assert "stands still" in make_watchdog(SignsOfLife(loop_seen=0.0)).complaint(11.0)


def test_the_thread_ends_the_process_and_shows_life_before(tmp_path):
    codes = []
    heartbeat = tmp_path / "alive"
    signs = SignsOfLife()
    watchdog = make_watchdog(
        signs, beat=heartbeat.touch, message_age_limit=0.3, exit_process=codes.append
    )
    watchdog.start(interval=0.05)
    deadline = time.monotonic() + 10
    while not heartbeat.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert heartbeat.exists()
    assert codes == []
    signs.in_hand_since = time.monotonic()
    while not codes and time.monotonic() < deadline:
        time.sleep(0.02)
    assert codes == [EXIT_CODE]


def test_time_without_a_cpu_does_not_count():
    signs = SignsOfLife(loop_seen=0.0, in_hand_since=0.0)
    watchdog = make_watchdog(signs)
    assert watchdog.complaint(0.0) is None
    # Six minutes on a machine so busy that the loop ran for 9 s of them.
    watchdog.starve(351.0)
    assert watchdog.complaint(360.0) is None
    assert "stands still for 11 s" in watchdog.complaint(362.0)
    signs.loop_seen = 362.0
    assert watchdog.complaint(365.0) is None


def test_starvation_before_something_began_does_not_prolong_it():
    signs = SignsOfLife(loop_seen=0.0)
    watchdog = make_watchdog(signs)
    watchdog.starve(1000.0)
    signs.loop_seen = 1000.0
    assert watchdog.complaint(1001.0) is None
    assert "stands still" in watchdog.complaint(1011.0)


def test_the_thread_tells_a_blocked_loop_from_a_starved_one():
    exits, waited = [], (7.0 * n for n in range(10_000))
    signs = SignsOfLife(loop_seen=time.monotonic())
    starved = make_watchdog(
        signs,
        loop_limit=0.3,
        exit_process=exits.append,
        starved_seconds=lambda: float(next(waited)),
    )
    starved.start(interval=0.05)
    time.sleep(1.0)
    starved.stop()
    assert exits == []
    blocked = make_watchdog(
        signs, loop_limit=0.3, exit_process=exits.append, starved_seconds=lambda: 0.0
    )
    blocked.start(interval=0.05)
    deadline = time.monotonic() + 10.0
    while not exits and time.monotonic() < deadline:
        time.sleep(0.05)
    blocked.stop()
    assert exits == [EXIT_CODE]


def test_linux_counts_how_long_a_thread_waits():
    assert starved_seconds() >= 0.0


def square(ra, dec=0.0, half=0.5):
    return SkyPolygon(
        vertices=(
            (ra - half, dec - half),
            (ra + half, dec - half),
            (ra + half, dec + half),
            (ra - half, dec + half),
        )
    )


def template(patch, ra=10.0, **changes) -> TemplateCoadd:
    event = examples()[TemplateCoadd]
    assert isinstance(event, TemplateCoadd)
    fields = {"patch": patch, "region": square(ra), "dataset_id": uuid4(), **changes}
    return event.model_copy(update=fields)


def record(key, value):
    return IncomingRecord("template-coadds", 0, 0, key, value, 0)


def fill(*templates):
    index = Templates("dp1")
    for t in templates:
        index.apply(record(t.key, t.model_dump_json().encode()))
    return index


def test_candidates_do_not_depend_on_the_order_of_arrival():
    some = [template(n) for n in range(6)]
    assert fill(*some).candidates("r", None) == fill(*reversed(some)).candidates("r", None)


def test_candidates_are_of_the_band_the_set_and_the_place():
    here, there = template(1, ra=359.9), template(2, ra=180.0)
    other_band, other_set = template(3, band="g"), template(4, template_set="old")
    index = fill(here, there, other_band, other_set)
    assert len(index) == 3
    assert list(index.candidates("r", square(0.2))) == [here]
    assert list(index.candidates("g", None)) == [other_band]


def test_the_newest_record_of_a_key_is_in_force_and_a_tombstone_withdraws_it():
    old, new = template(1, uri="s3://old"), template(1, uri="s3://new")
    index = fill(old, new)
    assert [t.uri for t in index.candidates("r", None)] == ["s3://new"]
    index.apply(record(new.key, None))
    index.apply(record(b"never there", None))
    assert list(index.candidates("r", None)) == []


def test_what_is_no_template_changes_nothing():
    index = fill(template(1))
    with pytest.raises(MalformedEventError):
        index.apply(record(b"k", b"{}"))
    assert len(index) == 1
