"""Faults while files are let go that can be made again, and while they are made."""

import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from tests.support.kafka_tools import arrival

from residua.obscore import image_storage

if TYPE_CHECKING:
    from tests.delivery.faults import Campaign


class Lettings:
    """The faults, each a call. What was killed is taken up by `finish`, as by an operator."""

    def __init__(self, campaign: "Campaign", scratch: Path, uri: str) -> None:
        self._campaign = campaign
        self._delivery = campaign.delivery
        self._scratch = scratch
        self._uri = uri
        self._sent = 0

    @property
    def faults(self):
        """By name: call and weight."""
        found = {
            "killed while files are let go": (self.kill_expiry, 2),
            "killed while files are made again": (self.kill_recreation, 2),
        }
        if self._campaign.s3 is not None:
            found["store down while files are let go"] = (self.down_in_expiry, 1)
            found["store down while files are made again"] = (self.down_in_recreation, 1)
        return found

    def kill_expiry(self) -> None:
        self._send()
        with self._begun("expire"):
            time.sleep(self._campaign.random.uniform(0.0, 1.0))

    def kill_recreation(self) -> None:
        self._send()
        self.finish()
        with self._begun("recreate"):
            time.sleep(self._campaign.random.uniform(0.0, 1.0))

    def down_in_expiry(self) -> None:
        self._send()
        with self._begun("expire") as process:
            self._campaign.kill_store()
            # It gives up, or goes on when the store is there again.
            with suppress(subprocess.TimeoutExpired):
                process.wait(20.0)

    def down_in_recreation(self) -> None:
        self._send()
        self.finish()
        with self._begun("recreate") as process:
            self._campaign.kill_store()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5.0)

    def finish(self) -> None:
        """Let go of all that is to go.

        Raises
        ------
        TimeoutError
            It does not come to an end in several calls.
        """
        for _ in range(6 if self._sent else 0):
            with self._begun("expire") as process, suppress(subprocess.TimeoutExpired):
                if process.wait(60.0) == 0:
                    return
            time.sleep(1.0)
        if self._sent:
            raise TimeoutError("files that are to be let go are not")

    def _send(self) -> None:
        """Send images that are kept for a while only, and wait until the catalog has one."""
        visits = [self._campaign.next_visit() for _ in range(3)]
        events = [arrival(visit, f"recent={self._uri}") for visit in visits]
        self._campaign.sent.extend(events)
        self._sent += len(events)
        patience = self._campaign.meanings.patience
        self._delivery.answer_to(events, visits[-1], seconds=patience)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self._known() < self._sent - 2:
            time.sleep(0.5)

    def _known(self) -> int:
        try:
            with self._delivery.engine.connect() as connection:
                return int(connection.scalar(select(func.count()).select_from(image_storage)) or 0)
        except DBAPIError:
            return 0

    @contextmanager
    def _begun(self, what: str):
        """Start it, and kill it in the end."""
        place = [self._delivery.catalog_url, self._delivery.output_root, str(self._scratch)]
        with (self._scratch / f"{what}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.letting_go", what, *place],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            try:
                process.stdout.readline()
                yield process
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
