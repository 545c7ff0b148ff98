"""Asking a component that does not answer again: how often, and with which pauses."""

import math
import random
from collections.abc import Callable, Iterator

__all__ = ["tries"]


def tries(
    attempts: int,
    first_pause: float,
    *,
    longest_pause: float = math.inf,
    jitter: tuple[float, float] = (0.5, 1.5),
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[tuple[int, float | None]]:
    """Count the tries, each with the pause to make when it fails.

    Pauses double, and are spread at random, so that processes that met one outage do not come
    back at one moment. The caller sleeps, blocking or not.

    Parameters
    ----------
    attempts
        Tries in all.
    first_pause
        Pause after the first, s, before `jitter`.
    longest_pause
        Limit of it, s.
    jitter
        Range of the factor on each pause.
    uniform
        Draws it.

    Yields
    ------
    number
        From 1.
    pause
        Seconds; `None` of the last try: give up.
    """
    for number in range(1, attempts + 1):
        if number == attempts:
            yield number, None
        else:
            pause = min(longest_pause, first_pause * 2.0 ** (number - 1))
            yield number, pause * uniform(*jitter)
