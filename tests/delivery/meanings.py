"""Faults of meaning: nothing dies, but what is sent, or where it is read from, is not as it was."""

import asyncio
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from aiokafka.errors import KafkaError
from confluent_kafka.admin import NewPartitions
from tests.delivery.supervisor import SESSION, WORKERS
from tests.support.kafka_tools import arrival, arrival_record
from tests.support.librdkafka import administrating, producing, transaction
from tests.support.raw_records import RawRecord, raw_batch, send_raw

from residua.replay import Selection, Target
from residua.replay.operation import run_replay
from residua_schemas import VISIT_ARRIVALS, VisitArrival

if TYPE_CHECKING:
    from tests.delivery.faults import Campaign

INPUT = "there.txt"
"""What arrivals with the wish ``input=`` read, as the real store reads its inputs."""

_CODECS = ("gzip", "snappy", "lz4", "zstd")


class Meanings:
    """The faults, each a call; what is sent is noted in the campaign."""

    def __init__(self, campaign: "Campaign", inputs: Path) -> None:
        self._campaign = campaign
        self._delivery = campaign.delivery
        self._inputs = inputs
        self._transaction = uuid.uuid4().hex
        self.ghosts: list[VisitArrival] = []
        self.patience = 300.0
        """Seconds until an arrival that was just sent has its outcome, behind all others."""

    @property
    def faults(self):
        """By name: call and weight."""
        found = {
            "older revision comes late": (self.late, 4),
            "image corrected": (self.corrected, 4),
            "night corrected": (self.night, 4),
            "made again, then corrected": (self.remade, 2),
            "worker frozen while a newer revision comes": (self.overtaken, 1),
            "inputs unmounted": (self.unmount, 2),
            "compressed records": (self.compressed, 3),
            "undecodable record": (self.undecodable, 2),
        }
        if self._campaign.kafka is not None:
            found |= {
                "transaction aborted": (self.aborted, 2),
                "partitions added": (self.grow, 1),
            }
        if self._campaign.s3 is not None:
            found["bucket of inputs missing"] = (self.no_bucket, 1)
        return found

    def late(self) -> None:
        visit = self._campaign.next_visit()
        self._send(arrival(visit, "v=new&sleep=0.2", revision=1), arrival(visit, "v=old"))

    def corrected(self) -> None:
        visit = self._campaign.next_visit()
        wrong = arrival(visit, "v=wrong")
        # And a producer that tries the first one again.
        self._send(wrong, arrival(visit, "v=right"))
        self._delivery.send([wrong])

    def night(self) -> None:
        visit = self._campaign.next_visit()
        first = arrival(visit, "v=first").model_copy(update={"day_obs": 20261122})
        moved = arrival(visit, "v=moved", revision=1).model_copy(update={"day_obs": 20261123})
        self._send(first, moved)

    def remade(self) -> None:
        """The operator forces a replay; then the producer corrects, and knows nothing of it."""
        visit = self._campaign.next_visit()
        first = arrival(visit, "v=first")
        self._campaign.sent.append(first)
        settings = self._delivery.settings
        self._delivery.answer_to([first], visit, seconds=self.patience)
        target, selection = Target(force=True), Selection(visits=(visit, visit))
        report = asyncio.run(run_replay(settings, selection, target))
        if report.sent:
            self._campaign.sent.append(first.model_copy(update={"remake": 1}))
        self._send(arrival(visit, "v=corrected"))

    def overtaken(self) -> None:
        visit = self._campaign.next_visit()
        self._send(arrival(visit, "v=old&sleep=1.5"))
        time.sleep(0.7)
        frozen = []
        for name in WORKERS:
            with suppress(psutil.NoSuchProcess):
                worker = psutil.Process(self._campaign.supervisor.get(name).pid)
                frozen += [worker, *worker.children(recursive=True)]
        # Both workers and their children: whoever has it in hand. A third one serves meanwhile.
        self._signal(frozen, signal.SIGSTOP)
        self._campaign.supervisor.start("third")
        self._send(arrival(visit, "v=newer", revision=1))
        time.sleep(SESSION + 4.0)
        self._signal(reversed(frozen), signal.SIGCONT)
        time.sleep(1.0)
        self._campaign.supervisor.retire("third")

    def unmount(self) -> None:
        away = self._inputs.with_name("away")
        self._inputs.rename(away)
        try:
            self._send_input(INPUT)
            time.sleep(2.5)
        finally:
            away.rename(self._inputs)

    def no_bucket(self) -> None:
        client = self._campaign.s3.client()
        bucket = self._campaign.bucket
        client.delete_object(Bucket=bucket, Key=INPUT)
        client.delete_bucket(Bucket=bucket)
        self._send_input(f"s3://{bucket}/{INPUT}")
        time.sleep(2.5)
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key=INPUT, Body=b"there")

    def compressed(self) -> None:
        codec = self._campaign.random.choice(_CODECS)
        bootstrap = self._delivery.settings.kafka_bootstrap
        with producing(bootstrap, compression_type=codec, linger_ms=20) as client:
            for _ in range(3):
                event = arrival(self._campaign.next_visit(), f"codec={codec}")
                self._campaign.sent.append(event)
                r = arrival_record(self._delivery.settings, event)
                client.produce(r.topic, key=r.key, value=r.value, headers=list(r.headers))

    def undecodable(self) -> None:
        record = arrival_record(self._delivery.settings, arrival(1))
        batch = raw_batch([RawRecord(record.value, record.key)], payload=b"\x10\0\0")
        topic = self._delivery.settings.topic_name(VISIT_ARRIVALS)
        # Apache Kafka checks what it takes; the embedded broker takes anything.
        with suppress(KafkaError):
            asyncio.run(send_raw(self._delivery.settings, topic, 0, batch))
            self._campaign.poison += 1

    def aborted(self) -> None:
        event = arrival(self._campaign.next_visit(), "aborted")
        self.ghosts.append(event)
        bootstrap = self._delivery.settings.kafka_bootstrap
        with transaction(bootstrap, self._transaction, commit=False) as client:
            r = arrival_record(self._delivery.settings, event)
            client.produce(r.topic, key=r.key, value=r.value)

    def grow(self) -> None:
        settings = self._delivery.settings
        name = settings.topic_name(VISIT_ARRIVALS)
        with administrating(settings.kafka_bootstrap) as client:
            there = len(client.list_topics(name, timeout=60).topics[name].partitions)
            [done] = client.create_partitions([NewPartitions(name, there + 1)]).values()
            done.result(60)

    def _send_input(self, uri: str) -> None:
        self._send(*(arrival(self._campaign.next_visit(), f"input={uri}") for _ in range(2)))

    def _send(self, *events: VisitArrival) -> None:
        self._campaign.sent.extend(events)
        self._delivery.send(events)

    @staticmethod
    def _signal(processes, number: signal.Signals) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
