"""Workers that live on and work no more, on Apache Kafka: the watchdog ends each of them.

The third silent state, an arrival that is in hand too long, stands in `test_services.py`.
"""

import signal

from residua.testing.kafka_tools import Delivery, arrival
from residua.worker.watchdog import EXIT_CODE

IMPATIENT = "residua.testing.impatient_worker"


def test_a_worker_that_left_its_group_is_ended_and_nothing_is_lost(kafka_settings, tmp_path):
    with Delivery(kafka_settings, tmp_path, partitions=1) as delivery:
        delivery.send([arrival(0, "sleep=12"), *(arrival(v) for v in range(1, 6))])
        worker = delivery.start_worker(module=IMPATIENT, rebalance_limit=6)
        assert worker.wait(300) == EXIT_CODE
        assert "rebalancing for" in worker.text()
        assert len(delivery.account().outcomes) < 6
        again = delivery.start_worker()
        account = delivery.wait(lambda a: len(a.outcomes) == 6, alive=[again])
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
