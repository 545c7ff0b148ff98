"""A thread that ends the process when the worker lives on but works no more.

faust can leave its group for ever and stay alive in silence; asyncio can be blocked. Nothing
inside the event loop can be trusted to notice, so this is a thread, and it ends the process hard:
nothing is acknowledged that was not published.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

__all__ = ["EXIT_CODE", "SignsOfLife", "Watchdog"]

EXIT_CODE = 70
"""What the process exits with: BSD's ``EX_SOFTWARE``."""


@dataclass
class SignsOfLife:
    """What the event loop writes and the watchdog reads; times are `time.monotonic` seconds.

    Parameters
    ----------
    loop_seen
        When the event loop last turned.
    in_hand_since
        When the arrival in hand was taken; `None` between arrivals.
    next_offsets
        By partition, the offset behind the last arrival that was acknowledged.
    last_handled_ms
        Timestamp of the last arrival that was acknowledged, ms since 1970.
    """

    loop_seen: float = field(default_factory=time.monotonic)
    in_hand_since: float | None = None
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
    ) -> None:
        self._signs = signs
        self._rebalancing = rebalancing
        self._rebalance_limit = rebalance_limit
        self._message_age_limit = message_age_limit
        self._loop_limit = loop_limit
        self._beat = beat
        self._exit_process = exit_process
        self._rebalancing_since: float | None = None
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
        since = self._rebalancing_since
        if since is not None and now - since > self._rebalance_limit:
            return f"rebalancing for {now - since:.0f} s"
        taken = self._signs.in_hand_since
        if taken is not None and now - taken > self._message_age_limit:
            return f"one arrival in hand for {now - taken:.0f} s"
        still = now - self._signs.loop_seen
        if still > self._loop_limit:
            return f"the event loop stands still for {still:.0f} s"
        return None

    def _watch(self, interval: float) -> None:
        while not self._stop.wait(interval):
            complaint = self.complaint(time.monotonic())
            if complaint is None:
                self._beat()
                continue
            structlog.get_logger(__name__).critical("watchdog_exit", complaint=complaint)
            self._exit_process(EXIT_CODE)
            return
