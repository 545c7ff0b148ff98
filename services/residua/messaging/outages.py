"""A component that does not answer is asked again, before a batch service gives up."""

import time
from collections.abc import Callable

import structlog

from residua.errors import TransientError
from residua.metrics import Metrics
from residua.retries import tries

__all__ = ["until_it_answers"]


def until_it_answers[T](
    ask: Callable[[], T], attempts: int, first_pause: float, metrics: Metrics
) -> T:
    """Ask, and again with growing pauses; each try beyond the first is counted and logged.

    Raises
    ------
    TransientError
        It did not answer the last time either.
    """
    for attempt, pause in tries(attempts, first_pause):
        try:
            return ask()
        except TransientError as e:
            metrics.retry("TransientError")
            structlog.get_logger(__name__).warning(
                "component_silent", attempt=attempt, message=str(e)
            )
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("unreachable")
