"""Asking a component that does not answer again: how often, and with which pauses."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator

__all__ = ["begun_anew", "tries"]


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


async def begun_anew(
    follow: Callable[[], Awaitable[None]],
    interrupted: Callable[[Exception, float], None],
    *,
    first_pause: float,
    longest_pause: float,
) -> None:
    """Do what should never end until cancelled, and begin it anew whenever it does.

    Parameters
    ----------
    follow
        What is done.
    interrupted
        Told of an error that ended it, and of the pause, s, that is made now.
    first_pause, longest_pause
        Pauses double from the first to the longest, s; what went on for longer than that begins
        with the first again.
    """
    pause = first_pause
    while True:
        began = time.monotonic()
        try:
            await follow()
        except Exception as e:  # noqa: BLE001 what follows must not end its process
            interrupted(e, pause)
        if time.monotonic() - began > longest_pause:
            pause = first_pause
        await asyncio.sleep(pause)
        pause = min(2.0 * pause, longest_pause)
