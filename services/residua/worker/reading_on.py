"""Whether the client hands over all that is there: seen from the broker, not from the client.

Between the broker and the handler lie two libraries. What they pass over has no outcome, and no
error either: a later record is acknowledged, and with it the one before that nobody saw. Here
their work is compared with the topic itself, where that costs something seldom: at a gap between
two offsets, and when records wait and nothing is in hand.
"""

from collections.abc import Awaitable, Callable, Mapping

import structlog

__all__ = ["LOOKS", "PassedOverError", "ReadingOn"]

LOOKS = 12
"""Looks, five seconds apart, in which records wait and nothing happens. Counted in looks, for a
process that was frozen has not looked."""

_TRIES = 5

type FirstReadable = Callable[[int, int], Awaitable[int | None]]
"""From a partition and an offset to the first record from there on; `None`: none is there."""


class PassedOverError(Exception):
    """Records were there and did not come: a new start begins at what was committed."""


class ReadingOn:
    """Compares what is handed over with what is there.

    Parameters
    ----------
    topic
        Full name, for the message.
    first
        Asks the broker, by a client of its own.
    """

    def __init__(self, topic: str, first: FirstReadable) -> None:
        self._topic = topic
        self._first = first
        self._still: dict[int, int] = {}
        self._nothing: dict[int, tuple[int, int]] = {}
        self._looks = 0

    async def across(self, partition: int, begin: int, offset: int) -> None:
        """Find out that there is nothing in a gap before a record, before that is handled.

        Transactions leave such gaps, retention does, and compaction. A producer in transactions
        leaves one after each, so that this costs each of its arrivals a fetch of one batch.

        Parameters
        ----------
        begin
            The first offset that is not known to be done.

        Raises
        ------
        PassedOverError
            There is a record.
        """
        found = await self._first(partition, begin)
        for _ in range(_TRIES):
            if found is not None:
                break
            # The record in hand is there at the least: the broker is slow.
            found = await self._first(partition, begin)
        if found is None:
            # Retention may have taken the record in hand meanwhile: not a reason to wait for ever.
            structlog.get_logger(__name__).warning(
                "gap_not_looked_into",
                topic=self._topic,
                partition=partition,
                begin=begin,
                end=offset,
            )
        elif found < offset:
            raise PassedOverError(
                f"{self._topic}/{partition}: the client brought offset {offset}, and {found} "
                f"before it was neither handled nor brought. A new start goes on at {begin}"
            )

    async def look(self, waiting: Mapping[int, tuple[int, int]], *, busy: bool) -> None:
        """Take in what waits.

        Parameters
        ----------
        waiting
            Of this worker's partitions, the first offset that is not done, and the end.
        busy
            An arrival is in hand, or the group is not settled.

        Raises
        ------
        PassedOverError
            Something has waited for `LOOKS` looks, and nothing happened.
        """
        there = {p: bounds for p, bounds in waiting.items() if bounds[0] < bounds[1]}
        still = {p: begin for p, (begin, _) in there.items()}
        if busy or not still or still != self._still:
            self._still, self._looks = {} if busy else still, 0
            return
        self._looks += 1
        # What transactions leave at an end waits for ever: looked into once.
        if self._looks < LOOKS or there == self._nothing:
            return
        self._looks = 0
        for partition, begin in still.items():
            found = await self._first(partition, begin)
            if found is not None:
                raise PassedOverError(
                    f"{self._topic}/{partition}: offset {found} waits, nothing is in hand, and "
                    f"the client has brought nothing in {LOOKS} looks. A new start goes on at "
                    f"{begin}"
                )
        self._nothing = there
