"""How long a killed worker is missed: from its SIGKILL to the next outcome after its restart.

    python -m tests.benchmarks.recovery --kills 10 --json recovery.json

starts Apache Kafka and one worker with static membership (a session of 30 s, the default), sends
a backlog, kills the worker ``--kills`` times while it works and starts it again at once, as an
orchestrator does. ``--module residua.worker`` measures the real worker (its arrivals name files
that are not there), without it the subtraction is a 0 s stand-in.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.support.kafka_tools import Delivery, arrival
from tests.support.servers.apache_kafka import running_kafka
from tests.support.service_process import ServiceProcess

from residua.messaging.client import read_to_end
from residua.messaging.settings import KafkaSettings
from residua_schemas import DIFFERENCE_IMAGES

STAND_IN = "tests.support.stand_in"
SESSION = 30.0
BACKLOG = 40


def outcome_times(settings: KafkaSettings) -> list[float]:
    """When each outcome was produced, seconds since 1970."""

    async def read() -> list[float]:
        topic = settings.topic_name(DIFFERENCE_IMAGES)
        return [r.timestamp / 1000.0 async for r in read_to_end(settings, topic)]

    return asyncio.run(read())


def first_after(settings: KafkaSettings, worker: ServiceProcess, moment: float) -> float:
    """Wait for the first outcome produced after a moment; when that was."""
    deadline = time.time() + 120.0
    while time.time() < deadline:
        if worker.exit_code is not None:
            raise RuntimeError(worker.text()[-2000:])
        later = [t for t in outcome_times(settings) if t > moment]
        if later:
            return min(later)
        time.sleep(0.5)
    raise TimeoutError(f"no outcome in 120 s: {worker.text()[-2000:]}")


def measure(kills: int, module: str) -> dict[str, object]:
    """Run once; seconds."""
    with ExitStack() as stack:
        settings = KafkaSettings(
            kafka_bootstrap=stack.enter_context(running_kafka()).bootstrap,
            topic_prefix=f"bench-{os.getpid()}-",
        )
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        delivery = stack.enter_context(Delivery(settings, directory, fresh=True))

        def start() -> ServiceProcess:
            return delivery.start_worker(module=module, session_timeout=SESSION)

        # What each start leaves undone waits for the next one.
        wish = "sleep=0.2" if module == STAND_IN else ""
        worker, found = start(), []
        for n in range(kills):
            delivery.send(arrival(n * BACKLOG + k, wish) for k in range(BACKLOG))
            first_after(settings, worker, time.time())
            worker.kill()
            killed = time.time()
            worker = start()
            found.append(first_after(settings, worker, killed) - killed)
            print(f"{n + 1:3d}/{kills}  {found[-1]:.2f} s", flush=True)
    return {
        "module": module,
        "kills": kills,
        "session_s": SESSION,
        "median_s": round(statistics.median(found), 2),
        "max_s": round(max(found), 2),
        "each_s": [round(s, 2) for s in found],
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--module", default=STAND_IN)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.kills, options.module)
    for name, value in found.items():
        print(f"{name:>12}  {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
