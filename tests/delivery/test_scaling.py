"""A backlog with workers coming and going, broker restarts and a leader failover."""

import time

import pytest
from tests.support.kafka_tools import Delivery, arrival

from residua.messaging.settings import KafkaSettings
from residua_schemas import VISIT_ARRIVALS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_a_backlog_of_500_while_workers_come_and_go(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path, partitions=8) as delivery:
        delivery.send(arrival(v, "sleep=0.1") for v in range(500))
        workers = [delivery.start_worker("w0")]
        delivery.wait(lambda a: len(a.outcomes) >= 50, seconds=300)
        workers += [delivery.start_worker(f"w{n}") for n in (1, 2, 3)]
        delivery.wait(lambda a: len(a.outcomes) >= 250, seconds=300, alive=workers)
        assert [w.stop() for w in workers[1:]] == [0, 0, 0]
        account = delivery.wait(lambda a: len(a.outcomes) == 500, seconds=300, alive=workers[:1])
        assert account.conflicts == 0
        assert account.repeats <= 4
        assert set(account.visits) == set(range(500))
        # More than one worker had a share.
        assert all("outcome" in w.text() for w in workers)


def test_two_processes_of_a_worker_share_the_partitions(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path, partitions=8) as delivery:
        worker = delivery.start_worker("pair", pool_size=2)
        delivery.send([arrival(v) for v in range(8)])
        delivery.wait(lambda a: len(a.outcomes) == 8, seconds=300, alive=[worker])
        delivery.send(arrival(v, "sleep=3") for v in range(100, 116))
        began = time.monotonic()
        account = delivery.wait(lambda a: len(a.outcomes) == 24, seconds=300, alive=[worker])
        # One at a time would take 48 s and more.
        assert time.monotonic() - began < 48.0
        assert account.repeats == account.conflicts == 0
        assert worker.stop() == 0


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "ended in order"])
def test_a_broker_restart_loses_nothing(kafka_to_break, tmp_path, kill):
    settings = KafkaSettings(kafka_bootstrap=kafka_to_break.bootstrap)
    with Delivery(settings, tmp_path) as delivery:
        worker, catalog = delivery.start_worker(), delivery.start_catalog()
        delivery.send(arrival(v, "sleep=0.3") for v in range(40))
        delivery.wait(lambda a: len(a.rows) >= 5, alive=[worker, catalog])
        if kill:
            kafka_to_break.kill()
        else:
            kafka_to_break.stop()
        time.sleep(5.0)
        kafka_to_break.start()
        account = delivery.wait(
            lambda a: len(a.rows) == len(a.outcomes) == 40, seconds=300, alive=[worker, catalog]
        )
        assert account.conflicts == 0
        assert len(account.files) == 40


def test_a_leader_failover_loses_nothing(kafka_cluster, tmp_path):
    settings = KafkaSettings(kafka_bootstrap=kafka_cluster.bootstrap)
    with Delivery(settings, tmp_path, replication=3) as delivery:
        worker, catalog = delivery.start_worker(), delivery.start_catalog()
        delivery.send(arrival(v, "sleep=0.3") for v in range(40))
        delivery.wait(lambda a: len(a.rows) >= 5, alive=[worker, catalog])
        leader = kafka_cluster.leader(settings.topic_name(VISIT_ARRIVALS), 0)
        kafka_cluster.kill(leader)
        delivery.wait(lambda a: len(a.outcomes) == 40, seconds=300, alive=[worker, catalog])
        assert kafka_cluster.leader(settings.topic_name(VISIT_ARRIVALS), 0) != leader
        kafka_cluster.start(leader)
        account = delivery.wait(lambda a: len(a.rows) == 40, alive=[worker, catalog])
        assert account.conflicts == 0


def test_a_killed_worker_is_back_long_before_its_session_ends(kafka_settings, tmp_path):
    """Static membership: a restart takes its own partitions back without a rebalance."""
    with Delivery(kafka_settings, tmp_path) as delivery:
        worker = delivery.start_worker(session_timeout=90)
        delivery.send(arrival(v, "sleep=0.2") for v in range(100))
        delivery.wait(lambda a: len(a.outcomes) >= 5, alive=[worker])
        worker.kill()
        have = len(delivery.account().outcomes)
        began = time.monotonic()
        worker = delivery.start_worker(session_timeout=90)
        delivery.wait(lambda a: len(a.outcomes) > have, alive=[worker])
        # Most of it is the interpreter's start.
        assert time.monotonic() - began < 60.0
