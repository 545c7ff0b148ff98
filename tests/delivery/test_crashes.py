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


# What the worker dies of while it has an arrival in hand, and what the arrival becomes. The failed
# ones would succeed when they are tried again; of `gone` the input is not there any more by then.
KILLS = {
    700: ("kill-before-store", "created"),
    701: ("kill-after-store", "created"),
    702: ("kill-after-publish", "created"),
    703: ("kill-after-store&gone", "created"),
    704: ("crash&kill-after-publish", "failed"),
    705: ("raise&kill-after-publish", "failed"),
}


def test_a_crash_at_any_point_gives_one_outcome_one_file_one_row(delivery):
    """One worker after the other is killed, each takes up what the last one left."""
    catalog = delivery.start_catalog()
    for visit, (wish, becomes) in KILLS.items():
        delivery.send([arrival(visit, wish)])
        assert delivery.start_worker().wait(300) == -signal.SIGKILL, wish
        account = delivery.account()
        stored = wish != "kill-before-store" and becomes == "created"
        assert files_of(account, visit) == stored, wish
        assert account.visits[visit] == ("publish" in wish), wish
    # A subtraction whose process dies when its file is stored: the worker lives.
    delivery.send([arrival(720, "crash-after-store")])
    worker = delivery.start_worker()
    account = delivery.wait(
        lambda a: len(a.rows) == 5 and len(a.visits) == 7 and a.repeats >= 3,
        alive=[worker, catalog],
    )
    assert set(account.visits.values()) == {1}
    became = {o.visit_detector.visit: o.outcome for o in account.outcomes}
    assert became == {720: "created"} | {visit: becomes for visit, (_, becomes) in KILLS.items()}
    assert account.conflicts == 0
    assert len(account.files) == 5
    assert set(account.rows.values()) == account.files


def files_of(account, visit):
    return sum(uri.rsplit("/", 2)[1] == str(visit) for uri in account.files)


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
