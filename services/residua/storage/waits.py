"""How long a process has waited for its stores: time that is no part of a subtraction."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from typing import Any

__all__ = ["StoreWaits", "observe_store_waits", "waiting_for_store"]

_TOTAL, _SINCE = 0, 1


class StoreWaits:
    """Seconds that a child's main thread has waited, to be read by its parent.

    One writer and two numbers that are written whole: no lock, so that a killed child leaves
    none behind.

    Parameters
    ----------
    context
        That of the process it will be handed to.
    clock
        Seconds, the same in both processes.
    """

    def __init__(self, context: SpawnContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._values: Any = context.RawArray("d", 2)
        self._clock = clock

    @property
    def seconds(self) -> float:
        """All waits so far, the one that is going on included."""
        return float(self._values[_TOTAL]) + self.current

    @property
    def current(self) -> float:
        """How long the wait that is going on has lasted; 0 without one."""
        since = float(self._values[_SINCE])
        return max(0.0, self._clock() - since) if since else 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time spent inside; inner uses count once."""
        if self._values[_SINCE]:
            yield
            return
        began = self._clock()
        self._values[_SINCE] = began
        try:
            yield
        finally:
            # In this order a reader may miss a moment, never count it twice.
            self._values[_SINCE] = 0.0
            self._values[_TOTAL] += self._clock() - began


_observers: list[StoreWaits] = []


def observe_store_waits(waits: StoreWaits | None) -> None:
    """Let ``waits`` be told of every call of this process' main thread to a store."""
    _observers[:] = [] if waits is None else [waits]


@contextmanager
def waiting_for_store() -> Iterator[None]:
    """Wrap a call to a store; only the main thread's are what a subtraction waits for."""
    if not _observers or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _observers[0].waiting():
        yield
