"""A soak: nights of arrivals at a steady rate, a fault a minute, memory watched, then the account.

    python -m tests.delivery.soak --minutes 60 --rate 15

24 hours of nights in one: 54,000 arrivals with the stand-in on Apache Kafka and S3 (``--embedded``:
neither). Exit code 1 when an arrival has not the outcome it must have, a row not its file, or
a service's memory grew by more than a tenth: in its second half, or, where it lived for less than
ten minutes, beyond what those of its kind that lived longer took. The bytes of all files whose
visit had more than one outcome are compared with their rows and go through Butler, of the others
3,000. Two workers and the catalog are harmed; a third worker is not, so that its memory is seen
from beginning to end. Logs stay where it does not balance.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
from tests.delivery.campaign import BUCKET, content_of, tally
from tests.delivery.faults import Campaign
from tests.delivery.meanings import INPUT
from tests.delivery.supervisor import CATALOG, Supervisor
from tests.delivery.verdict import judge
from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.apache_kafka import running_kafka
from tests.support.servers.s3 import running_s3
from tests.support.servers.server_process import wait_until

from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker

_SHORT, _LONG = 40, 300
"""Looks, two seconds apart, after which a service has started, and after which its memory has
settled: before that, a catalog consumer fills the database's cache."""
_PATIENCE = 600.0
"""Seconds a fault may wait for an outcome; after that it is a complaint, and the soak goes on."""
STEADY = "steady"
"""The worker nothing is done to."""


class Memory:
    """Resident memory of the services, by name; a service that was started anew begins anew."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.samples: dict[tuple[str, int], list[float]] = defaultdict(list)

    def look(self) -> None:
        for name in self._supervisor.names():
            pid = self._supervisor.get(name).pid
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                family = [process, *process.children(recursive=True)]
                self.samples[name, pid].append(sum(p.memory_info().rss for p in family) / 1e6)

    def growth(self) -> float:
        """Largest growth of the second half over the first, of those that lived for long.

        Younger ones are held against the most that the long-lived of their kind took in their
        first half; where there is none, against their own.
        """
        settled: dict[bool, float] = {}
        for (name, _), samples in self.samples.items():
            if len(samples) >= _LONG:
                kind = name == CATALOG
                settled[kind] = max(settled.get(kind, 0.0), *samples[: len(samples) // 2])
        found = [0.0]
        for (name, _), samples in self.samples.items():
            if len(samples) < _SHORT:
                continue
            half = len(samples) // 2
            first, last = max(samples[half // 2 : half]), max(samples[half:])
            if len(samples) < _LONG:
                first = settled.get(name == CATALOG, first)
            found.append(last / first - 1.0)
        return max(found)


def soak(minutes: float, rate: float, seed: int, directory: Path, *, embedded: bool) -> int:
    """Run, print, and return the exit code."""
    rng = random.Random(seed)
    with ExitStack() as stack:
        kafka = s3 = None
        prefix = f"soak-{os.getpid()}-"
        if embedded:
            bootstrap = stack.enter_context(EmbeddedBroker(prefix)).bootstrap
        else:
            kafka = stack.enter_context(running_kafka())
            s3 = stack.enter_context(running_s3("difference-images", BUCKET))
            bootstrap = kafka.bootstrap
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix)
        delivery = stack.enter_context(Delivery(settings, directory, s3=s3, fresh=True))
        inputs = directory / "inputs"
        inputs.mkdir()
        (inputs / INPUT).write_text("there")
        roots = [str(inputs)]
        if s3 is not None:
            s3.client().put_object(Bucket=BUCKET, Key=INPUT, Body=b"there")
            roots.append(f"s3://{BUCKET}/")
            os.environ.update(s3.environment)
        supervisor = Supervisor(delivery)
        supervisor.worker_settings = {"input_roots": json.dumps(roots)}
        stack.enter_context(supervisor)
        supervisor.start(STEADY)
        campaign = Campaign(delivery, supervisor, seed, kafka, s3, inputs, BUCKET)
        campaign.meanings.patience = _PATIENCE
        stalls: list[str] = []
        memory = Memory(supervisor)
        begin, sent, minute = time.monotonic(), 0, 0
        names = [*campaign.faults, *campaign.stream]
        while (now := time.monotonic() - begin) < 60.0 * minutes:
            due = min(int(rate * now) - sent, 500)
            if due > 0:
                events = [arrival(campaign.next_visit()) for _ in range(due)]
                campaign.sent.extend(events)
                delivery.send(events)
                sent += due
            memory.look()
            if now > 60.0 * (minute + 1):
                minute += 1
                name = rng.choice(names)
                try:
                    if name in campaign.faults:
                        campaign.faults[name][0]()
                    else:
                        campaign.send(1, name)
                except TimeoutError as e:
                    stalls.append(f"minute {minute}, {name}: {e}; {campaign.waiting()}")
                    print(stalls[-1], flush=True)
                campaign.counts[name] += 1
                print(f"{minute:4d} min  {len(campaign.sent):6d} sent  {name}", flush=True)
            time.sleep(2.0)
        print(f"{len(campaign.sent)} sent; waiting for the rest", flush=True)
        # Reading all of it again and again would take the services' time.
        with suppress(TimeoutError):
            wait_until(
                lambda: delivery.worker_lag() == delivery.catalog_lag() == 0,
                "nothing waits",
                seconds=3600.0,
                pause=5.0,
            )
        print("judging", flush=True)
        try:
            account = delivery.wait(lambda a: tally(campaign, a, 0.0).settles, seconds=600.0)
        except TimeoutError:
            account = delivery.account()
        campaign.lettings.finish()
        account = delivery.account()
        verdict = judge(
            delivery, campaign.sent, campaign.meanings.ghosts, content_of, account.files, most=3000
        )
        result = tally(campaign, account, time.monotonic() - begin, verdict)
    growth = memory.growth()
    for (name, pid), samples in memory.samples.items():
        at = [samples[n * (len(samples) - 1) // 4] for n in range(5)]
        print(f"{name} {pid}: {len(samples)} looks, MB: {' '.join(f'{v:.0f}' for v in at)}")
    print(f"{result.arrivals} arrivals, {result.outcomes} outcomes, {result.rows} rows")
    print(f"memory grew by {100.0 * growth:.1f} % at most")
    for complaint in (*stalls, *result.complaints[:50]):
        print(complaint)
    balances = result.balances and not stalls
    print("balances" if balances else "DOES NOT BALANCE")
    return 0 if balances and growth < 0.1 else 1


def main() -> int:
    """Run a soak from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=15.0, help="arrivals a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--embedded", action="store_true", help="no Apache Kafka, no S3")
    parser.add_argument("--keep", type=Path, help="directory for logs and catalog, kept")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    print(f"logs in {directory}", flush=True)
    code = soak(options.minutes, options.rate, options.seed, directory, embedded=options.embedded)
    if code == 0 and options.keep is None:
        shutil.rmtree(directory)
    return code


if __name__ == "__main__":
    sys.exit(main())
