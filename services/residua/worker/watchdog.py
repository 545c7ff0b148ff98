"""A thread that ends the process when the worker lives on but works no more.

faust can leave its group for ever and stay alive in silence; asyncio can be blocked. Nothing
inside the event loop can be trusted to notice, so this is a thread, and it ends the process hard:
nothing is acknowledged that was not published.

On a starved machine everything takes long without standing still. Time in which the event loop's
thread wanted to run and got no CPU does not count, nor that by which this thread woke up late.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from residua_schemas import VisitDetector

__all__ = ["EXIT_CODE", "SignsOfLife", "Watchdog", "starved_seconds"]

EXIT_CODE = 70
"""What the process exits with: BSD's ``EX_SOFTWARE``."""


_SCHEDSTAT = Path("/proc/self/schedstat")


def starved_seconds() -> float:
    """Return for how long the process' main thread has waited for a CPU, as Linux counts it.

    0 where nobody counts.
    """
    try:
        return int(_SCHEDSTAT.read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


@dataclass
class SignsOfLife:
    """What the event loop writes and the watchdog reads; times are `time.monotonic` seconds.

    Parameters
    ----------
    loop_seen
        When the event loop last turned.
    in_hand_since
        When the arrival in hand was taken; `None` between arrivals.
    in_hand
        Which one it is, as soon as it is read.
    place
        Partition and offset of its record.
    waiting
        Arrivals that wait in this worker's partitions; `None` while that is not known.
    next_offsets
        By partition, the offset behind the last arrival that was acknowledged.
    last_handled_ms
        Timestamp of the last arrival that was acknowledged, ms since 1970.
    """

    loop_seen: float = field(default_factory=time.monotonic)
    in_hand_since: float | None = None
    in_hand: VisitDetector | None = None
    place: tuple[int, int] | None = None
    waiting: int | None = None
    next_offsets: dict[int, int] = field(default_factory=dict)
    last_handled_ms: int | None = None


class Watchdog:
    """Looks once a second, and exits with `EXIT_CODE`.

    Parameters
    ----------
    signs
        What the event loop writes.
    rebalancing
        Whether the consumer is in a rebalance.
    rebalance_limit
        Longest rebalance, seconds.
    message_age_limit
        Longest time one arrival is in hand, seconds.
    loop_limit
        Longest time the event loop may stand still, seconds.
    beat
        Called each second while all is well.
    exit_process
        Ends the process; replaced in tests.
    starved_seconds
        For how long the event loop's thread has waited for a CPU in all.
    """

    def __init__(
        self,
        signs: SignsOfLife,
        rebalancing: Callable[[], bool],
        *,
        rebalance_limit: float,
        message_age_limit: float,
        loop_limit: float = 120.0,
        beat: Callable[[], None] = lambda: None,
        exit_process: Callable[[int], object] = os._exit,
        starved_seconds: Callable[[], float] = starved_seconds,
    ) -> None:
        self._signs = signs
        self._rebalancing = rebalancing
        self._rebalance_limit = rebalance_limit
        self._message_age_limit = message_age_limit
        self._loop_limit = loop_limit
        self._beat = beat
        self._exit_process = exit_process
        self._starved_seconds = starved_seconds
        self._rebalancing_since: float | None = None
        self._starved = 0.0
        self._marks: dict[str, tuple[float, float]] = {}
        self._stop = threading.Event()

    def start(self, interval: float = 1.0) -> None:
        """Start the thread."""
        threading.Thread(target=self._watch, args=(interval,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def complaint(self, now: float) -> str | None:
        """Say what is wrong at ``now``, or `None`."""
        if not self._rebalancing():
            self._rebalancing_since = None
        elif self._rebalancing_since is None:
            self._rebalancing_since = now
        outside = self._since("rebalancing", self._rebalancing_since, now)
        if outside > self._rebalance_limit:
            return f"rebalancing for {outside:.0f} s"
        held = self._since("in hand", self._signs.in_hand_since, now)
        if held > self._message_age_limit:
            return f"one arrival in hand for {held:.0f} s"
        still = self._since("loop", self._signs.loop_seen, now)
        if still > self._loop_limit:
            return f"the event loop stands still for {still:.0f} s"
        return None

    def starve(self, seconds: float) -> None:
        """Take note of time in which nothing here could run."""
        self._starved += max(0.0, seconds)

    def _since(self, what: str, since: float | None, now: float) -> float:
        """Seconds since something began, without those in which there was no CPU."""
        if since is None:
            return 0.0
        known, starved = self._marks.get(what, (None, 0.0))
        if known != since:
            starved = self._starved
            self._marks[what] = since, starved
        return now - since - (self._starved - starved)

    def _watch(self, interval: float) -> None:
        seen, waited = time.monotonic(), self._starved_seconds()
        while not self._stop.wait(interval):
            now, waits = time.monotonic(), self._starved_seconds()
            self.starve(min(now - seen, max(waits - waited, now - seen - interval)))
            seen, waited = now, waits
            complaint = self.complaint(now)
            if complaint is None:
                self._beat()
                continue
            structlog.get_logger(__name__).critical("watchdog_exit", complaint=complaint)
            self._exit_process(EXIT_CODE)
            return
