"""Whether an arrival in hand is still ours: a worker that was frozen may have lost it unnoticed."""

import asyncio
from collections.abc import Callable

from residua.errors import TransientError

__all__ = ["Membership"]


class Membership:
    """Compares the group's generation at the end of an arrival with that at its beginning.

    While a member has a record in hand its group does not rebalance without it, unless the
    member was silent for a whole session: then it was put out, and another has the record.

    Parameters
    ----------
    generation
        The group's generation as this member knows it now.
    settling
        Seconds in which the client hears that it was put out: more than a heartbeat's interval.
    """

    def __init__(self, generation: Callable[[], int], settling: float) -> None:
        self._generation = generation
        self._settling = settling
        self._taken = -1

    def take(self) -> None:
        """Note that an arrival was taken."""
        self._taken = self._generation()

    async def confirm(self) -> None:
        """Return when the arrival is still ours.

        Asked before a failure is published that another worker may not have had (a subtraction
        that took too long, a process that died): no arrival may have two outcomes that differ.

        Raises
        ------
        TransientError
            It is not: end without acknowledging.
        """
        await asyncio.sleep(self._settling)
        now = self._generation()
        if now != self._taken:
            raise TransientError(
                f"this worker was out of its group (generation {self._taken}, now {now}) with an "
                "arrival in hand that could not be done here: another worker has it"
            )
