"""Ending work that nobody waits for any more."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

__all__ = ["Cancellation"]

_PAUSE_SECONDS = 0.2


class Cancellation:
    """A flag that work looks at, and actions that end what cannot look."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._actions: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether the work should end."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask the work to end; returns at once."""
        if self._event.is_set():
            return
        self._event.set()
        if self._actions:
            self._act()

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        """Call ``action``, from another thread, if the flag is set meanwhile.

        Once this ends, the action is not running and will not be called.
        """
        with self._lock:
            self._actions.append(action)
        if self._event.is_set():
            self._act()
        try:
            yield
        finally:
            with self._lock:
                self._actions.remove(action)

    def _act(self) -> None:
        Thread(target=self._call_until_ended, daemon=True).start()

    def _call_until_ended(self) -> None:
        # Again and again: the first call may come before there is anything to end.
        while True:
            with self._lock:
                if not self._actions:
                    return
                for action in self._actions:
                    action()
            time.sleep(_PAUSE_SECONDS)
