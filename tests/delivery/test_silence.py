"""Workers that live on and work no more, or that slept too long, on Apache Kafka.

The watchdog ends those that are silent; its third state, an arrival that is in hand too long,
stands in `test_services.py`.
"""

import signal
import urllib.request

import pytest
from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.server_process import free_ports, wait_until

from residua.worker.watchdog import EXIT_CODE

pytestmark = pytest.mark.timeout(1500)

IMPATIENT = "tests.support.impatient_worker"


def test_a_worker_that_left_its_group_is_ended_and_nothing_is_lost(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path, partitions=1) as delivery:
        # More than the worker holds: only when it has no room does it stop asking Kafka.
        delivery.send([arrival(0, "sleep=12"), *(arrival(v) for v in range(1, 30))])
        worker = delivery.start_worker(module=IMPATIENT, rebalance_limit=6)
        assert worker.wait(300) == EXIT_CODE
        assert "rebalancing for" in worker.text()
        assert len(delivery.account().outcomes) < 30
        again = delivery.start_worker()
        account = delivery.wait(lambda a: len(a.outcomes) == 30, alive=[again])
        assert account.conflicts == 0


def test_a_worker_without_a_partition_that_left_its_group_is_ended(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path, partitions=1) as delivery:
        worker = delivery.start_worker("busy")
        delivery.send([arrival(0)])
        delivery.wait(lambda a: len(a.outcomes) == 1, alive=[worker])
        spare = delivery.start_worker("spare", module=IMPATIENT, rebalance_limit=6)
        assert spare.wait(300) == EXIT_CODE
        assert "rebalancing for" in spare.text()
        assert worker.exit_code is None


def test_a_worker_without_a_partition_stays_and_takes_over(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path, partitions=1) as delivery:
        worker = delivery.start_worker("busy")
        delivery.send([arrival(0)])
        delivery.wait(lambda a: len(a.outcomes) == 1, alive=[worker])
        spare = delivery.start_worker("spare", rebalance_limit=60)
        delivery.wait(lambda _: '"event": "ready"' in spare.text(), alive=[worker, spare])
        worker.send_signal(signal.SIGKILL)
        delivery.send(arrival(v) for v in range(1, 6))
        account = delivery.wait(lambda a: len(a.outcomes) == 6, alive=[spare])
        assert account.conflicts == 0


def test_a_worker_that_slept_too_long_does_not_contradict_its_successor(kafka_settings, tmp_path):
    """What takes the one too long, the other does: there is one outcome, not two that differ."""
    with Delivery(kafka_settings, tmp_path, partitions=1) as delivery:
        [port] = free_ports(1)
        impatient = delivery.start_worker("first", subtraction_timeout=6, metrics_port=port)
        delivery.send([arrival(0, "sleep=8")])
        wait_until(lambda: in_hand(port), "the arrival is in hand", seconds=240.0)
        impatient.send_signal(signal.SIGSTOP)
        successor = delivery.start_worker("second")
        delivery.wait(lambda a: len(a.outcomes) == 1, alive=[impatient, successor])
        impatient.send_signal(signal.SIGCONT)
        # It finds the image that was made meanwhile and says the same, or leaves without a word.
        wait_until(
            lambda: impatient.exit_code is not None or not in_hand(port), "it ends", seconds=240.0
        )
        delivery.send(arrival(v) for v in range(1, 6))
        account = delivery.wait(lambda a: len(a.outcomes) == 6, alive=[successor])
        assert account.kinds == {"created": 6}
        assert account.conflicts == 0


def in_hand(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
            return b"\nresidua_in_hand 1.0" in answer.read()
    except OSError:
        return False
