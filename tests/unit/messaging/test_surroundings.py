"""Looking at disks and retention holds nobody up."""

import asyncio
import threading
from contextlib import suppress

from residua.messaging.settings import KafkaSettings
from residua.messaging.surroundings import show_surroundings
from residua.metrics import Metrics


def test_a_file_system_that_hangs_does_not_hold_the_loop(monkeypatch):
    answers, answered = threading.Event(), []

    async def scenario():
        loop, asked = asyncio.get_running_loop(), asyncio.Event()

        def hangs(_directory):
            loop.call_soon_threadsafe(asked.set)
            answered.append(answers.wait(5.0))
            raise OSError("stale file handle")

        monkeypatch.setattr("residua.metrics.counting.shutil.disk_usage", hangs)
        settings = KafkaSettings(kafka_bootstrap="127.0.0.1:1")
        looking = asyncio.ensure_future(
            show_surroundings(settings, ["t"], {"output": "/gone"}, Metrics())
        )
        await asked.wait()
        # It is the loop that lets it go on.
        answers.set()
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    asyncio.run(scenario())
    assert answered == [True]
