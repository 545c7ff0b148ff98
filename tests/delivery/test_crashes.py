"""A worker or its subtraction's process that dies or hangs, at each point of an arrival.

Runs on the embedded broker, and with ``-m slow`` on Apache Kafka.
"""

import signal

import psutil
import pytest
from tests.support.kafka_tools import arrival
from tests.support.servers.server_process import wait_until

from residua.worker.watchdog import EXIT_CODE

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.parametrize(
        "broker_settings",
        ["embedded", pytest.param("apache", marks=pytest.mark.slow)],
        indirect=True,
    ),
]


@pytest.mark.parametrize(
    ("point", "repeats"),
    [("kill-before-store", 0), ("kill-after-store", 0), ("kill-after-publish", 1)],
)
def test_a_crash_at_any_point_gives_one_outcome_one_file_one_row(delivery, point, repeats):
    delivery.send([arrival(700, point)])
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    assert worker.wait(300) == -signal.SIGKILL
    assert len(delivery.account().files) == (point != "kill-before-store")
    delivery.send([arrival(701)])
    worker = delivery.start_worker()
    account = delivery.wait(
        lambda a: len(a.rows) == 2 and a.repeats >= repeats, alive=[worker, catalog]
    )
    assert account.visits == {700: 1, 701: 1}
    assert (account.repeats, account.conflicts, len(account.files)) == (repeats, 0, 2)


@pytest.mark.parametrize("fault", ["crash", "raise"])
def test_a_failure_the_next_try_would_not_meet_is_final(delivery, fault):
    """The worker dies between publishing the failure and acknowledging its arrival."""
    delivery.send([arrival(710, f"{fault}&kill-after-publish")])
    assert delivery.start_worker().wait(300) == -signal.SIGKILL
    assert delivery.account().kinds == {"failed": 1}
    worker = delivery.start_worker()
    account = delivery.wait(lambda a: a.repeats == 1, alive=[worker])
    assert (account.kinds, account.conflicts, account.files) == ({"failed": 1}, 0, frozenset())


def test_a_file_that_was_stored_by_a_killed_try_is_created(delivery):
    delivery.send([arrival(720, "crash-after-store")])
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    account = delivery.wait(lambda a: len(a.rows) == 1, alive=[worker, catalog])
    assert account.kinds == {"created": 1}
    assert set(account.rows.values()) == set(account.files)


def test_an_image_that_was_stored_stays_created_when_its_input_is_gone(delivery):
    """Killed between store and publish; the input has expired when the arrival comes again."""
    delivery.send([arrival(730, "kill-after-store&gone")])
    catalog = delivery.start_catalog()
    assert delivery.start_worker().wait(300) == -signal.SIGKILL
    worker = delivery.start_worker()
    account = delivery.wait(lambda a: len(a.rows) == 1, alive=[worker, catalog])
    assert account.kinds == {"created": 1}
    assert set(account.rows.values()) == set(account.files)


def test_the_watchdog_ends_a_worker_whose_arrival_is_too_old(delivery):
    delivery.send([arrival(800, "sleep=60")])
    worker = delivery.start_worker(message_age_limit=2)
    assert worker.wait(300) == EXIT_CODE
    assert "one arrival in hand" in worker.text()
    assert delivery.account().outcomes == ()


@pytest.mark.slow
def test_children_die_with_a_killed_worker(delivery):
    delivery.send([arrival(600, "sleep=30")])
    worker = delivery.start_worker(heartbeat_file=delivery.output / "alive")
    heartbeat = delivery.output / "alive"
    wait_until(
        lambda: bool(spawned_by(worker.pid)) and heartbeat.exists(), "the child", seconds=240.0
    )
    children = spawned_by(worker.pid)
    worker.send_signal(signal.SIGKILL)
    worker.wait(60)
    wait_until(lambda: not any(map(alive, children)), "the children are dead", seconds=60.0)


def spawned_by(pid: int) -> list[int]:
    children = psutil.Process(pid).children(recursive=True)
    return [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
