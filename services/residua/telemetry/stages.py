"""How long the stages of a visit-detector took, for metrics and traces; not part of a result."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

__all__ = ["Stage", "StageClock", "Watch", "unwatched"]

type Watch = Callable[[str], AbstractContextManager[None]]
"""Called with the name of a stage, for the time that it takes."""


class Stage(NamedTuple):
    """One stage.

    Parameters
    ----------
    begin
        When it began, seconds since 1970.
    seconds
        How long it took.
    """

    name: str
    begin: float
    seconds: float


class StageClock:
    """Collects stages until they are taken."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a stage, also one that ends with an error."""
        begin, started = time.time(), time.monotonic()
        try:
            yield
        finally:
            self._stages.append(Stage(name, begin, time.monotonic() - started))

    def take(self) -> tuple[Stage, ...]:
        """Return what was collected, and begin anew."""
        taken = tuple(self._stages)
        self._stages.clear()
        return taken


def unwatched(_name: str) -> AbstractContextManager[None]:
    """Time nothing."""
    return nullcontext()
