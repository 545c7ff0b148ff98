"""A worker that takes two seconds after each rebalance to find out where to go on.

``python -m tests.support.slow_joiner`` is the stand-in's worker, but that its client is asked once
in half a minute, not once a second: it is under way in every rebalance, and brings what faust then
throws away.
"""

import asyncio
from typing import Any

__all__ = ["run_slow_joiner"]


def run_slow_joiner(*, forgets: bool = False) -> None:
    """Run it; one that forgets goes back as aiokafka does, and is behind what was thrown away."""
    from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
    from tests.support.stand_in import open_stand_in

    from residua.worker import faust_transport
    from residua.worker.main import run_worker
    from residua.worker.settings import WorkerSettings

    thread_of_client: Any = faust_transport._Thread
    goes_back: Any = AIOKafkaConsumerThread if forgets else thread_of_client
    seek, ask = goes_back.seek_to_committed, thread_of_client.getmany

    async def seek_later(thread: Any) -> Any:
        await asyncio.sleep(2.0)
        return await seek(thread)

    async def ask_for_long(thread: Any, partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109
        return await ask(thread, partitions, 30.0 * timeout)

    thread_of_client.seek_to_committed = seek_later
    thread_of_client.getmany = ask_for_long
    run_worker(WorkerSettings(), open_stand_in)


if __name__ == "__main__":
    from tests.support.slow_joiner import run_slow_joiner as run

    run()
