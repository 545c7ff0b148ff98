"""Places: how much of one kind of work runs at once, shared fairly among callers."""

import asyncio
import contextvars
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from residua.access.dali.errors import OverloadError

__all__ = ["Places", "in_thread"]

_MOST_WAITING = 200


class Places:
    """So many at once; no caller has more than half of them, and callers take turns.

    Parameters
    ----------
    what
        For messages.
    number
        Places.
    seconds
        Longest wait.
    """

    def __init__(self, what: str, number: int, seconds: float) -> None:
        self.number = number
        self._what = what
        self._free = number
        self._each = max(1, (number + 1) // 2)
        self._seconds = seconds
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """Wait for a place.

        Raises
        ------
        OverloadError
            Nobody gave one back in time, or the caller has too many requests waiting.
        """
        await self._take(caller)
        try:
            yield
        finally:
            self._give_back(caller)

    async def _take(self, caller: str) -> None:
        if self._free and self._taken[caller] < self._each:
            self._free -= 1
            self._taken[caller] += 1
            return
        queue = self._waiting.setdefault(caller, deque())
        if len(queue) >= _MOST_WAITING:
            raise OverloadError(
                f"{len(queue)} requests of yours wait for {self._what}; come back when they are "
                "done"
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._seconds)
        except BaseException as e:
            if turn.done() and not turn.cancelled():
                self._give_back(caller)
            else:
                turn.cancel()
                self._forget(caller, turn)
            if isinstance(e, TimeoutError):
                raise OverloadError(
                    f"all places for {self._what} are taken; try again in a minute"
                ) from e
            raise

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(caller)
        if queue is not None:
            if turn in queue:
                queue.remove(turn)
            if not queue:
                del self._waiting[caller]

    def _give_back(self, caller: str) -> None:
        self._free += 1
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]
        for waiting in list(self._waiting):
            if not self._free:
                return
            if self._taken[waiting] >= self._each:
                continue
            queue = self._waiting[waiting]
            turn = queue.popleft()
            # Who had a turn goes to the end of the line of callers.
            self._waiting.move_to_end(waiting)
            if not queue:
                del self._waiting[waiting]
            self._free -= 1
            self._taken[waiting] += 1
            turn.set_result(None)


async def in_thread[T](action: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Run in a thread, and be there until it ends also when the request is cancelled.

    A place must not be given to the next one while the work still runs. The loop's own threads
    take half of what it costs by way of anyio.

    Parameters
    ----------
    undo
        Is given what nobody takes any more, because the request was cancelled.
    """
    loop = asyncio.get_running_loop()
    task = loop.run_in_executor(None, contextvars.copy_context().run, action)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None and undo is not None:
                undo(task.result())
        raise
