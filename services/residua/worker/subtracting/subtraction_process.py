"""One spawned process for subtractions: killed when it hangs, made anew when it dies."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import structlog

from residua.errors import SubtractionTimeoutError, TransientError, WorkerCrashError
from residua.inner_names import child_processes
from residua.metrics import Metrics
from residua.storage.waits import StoreWaits
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import (
    ChildAnswer,
    initialize,
    process_in_child,
    read_ahead_in_child,
    ready,
    settle_in_child,
)
from residua.worker.subtracting.processor import ProcessorFactory
from residua.worker.subtracting.read_ahead import ReadAheadReport
from residua_schemas import ArrivalPlace, DifferenceImageFailed, TemplateCoadd, VisitArrival

__all__ = ["SubtractionProcess"]

_ATTEMPTS = 2
_LOOK = 1.0
"""Seconds between two looks at a call that is under way."""


class _StoreSilentError(Exception):
    """A store has given no answer for too long; not an error of the arrival."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"a store gave no answer in {seconds:.0f} s")
        self.seconds = round(seconds)


class SubtractionProcess:
    """Runs a processor in a child process, one call at a time.

    The child is spawned, not forked: threads and locks of the Kafka client must not be copied.

    Parameters
    ----------
    factory
        Makes the processor, in the child.
    settings
        ``subtraction_timeout`` and ``start_timeout`` bound the calls.
    metrics
        Where retries are counted.
    """

    def __init__(
        self, factory: ProcessorFactory, settings: WorkerSettings, metrics: Metrics
    ) -> None:
        self._factory = factory
        self._settings = settings
        self._metrics = metrics
        self._executor: ProcessPoolExecutor | None = None
        self._context = multiprocessing.get_context("spawn")
        self._waits = StoreWaits(self._context)
        self._answered = False
        # One call at a time: the clock of none runs while another has the child.
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger(__name__)

    @property
    def store_wait(self) -> float:
        """How long the call under way has waited for its store, seconds; 0 without a wait."""
        return self._waits.current

    def begin(self) -> None:
        """Start the child and wait for nothing: its imports take as long as joining the group."""
        # A child of its own: one that was killed in the middle of a wait never ends it.
        self._waits = StoreWaits(self._context)
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=self._context,
            initializer=initialize,
            initargs=(self._factory, self._settings, os.getpid(), self._waits),
        )
        # The process is made when there is something to do.
        self._executor.submit(ready)

    async def start(self) -> int:
        """Start the child and wait until it is ready; returns its process id.

        Raises
        ------
        WorkerCrashError
            The child died while it started.
        SubtractionTimeoutError
            It was not ready in time.
        """
        if self._executor is not None:
            try:
                return await self._bounded(self._settings.start_timeout, ready)
            except WorkerCrashError:
                # It died between two calls: no fault of the next one.
                self._log.warning("subtraction_process_died_idle")
        self.begin()
        return await self._bounded(self._settings.start_timeout, ready)

    async def run(
        self,
        arrival: VisitArrival,
        candidates: tuple[TemplateCoadd, ...] | None,
        place: ArrivalPlace,
        label: str | None = None,
    ) -> ChildAnswer:
        """Process one arrival; a child that hangs or dies is replaced, and the call tried again.

        Parameters
        ----------
        candidates
            `None`: only find out where the visit image lies.
        place
            Of the arrival in its topic, or of the one it repeats.
        label
            Of the run it is for; `None` for the worker's own.

        Raises
        ------
        SubtractionTimeoutError, WorkerCrashError
            It happened twice.

        Notes
        -----
        What the child waits for a store is not part of the limit. A store that gives no answer
        for ``store_timeout`` is silent: the child is ended, and the answer is ``transient``.
        """
        async with self._turn:
            return await self._run(arrival, candidates, place, label)

    async def _run(
        self,
        arrival: VisitArrival,
        candidates: tuple[TemplateCoadd, ...] | None,
        place: ArrivalPlace,
        label: str | None,
    ) -> ChildAnswer:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self.start()
                answer = await self._bounded(
                    self._limit, process_in_child, arrival, candidates, place, label
                )
            except _StoreSilentError as e:
                self._log.warning("store_silent", seconds=e.seconds)
                return ChildAnswer("transient", message=str(e))
            except (SubtractionTimeoutError, WorkerCrashError) as e:
                self._metrics.retry(type(e).__name__)
                self._log.warning("subtraction_lost", attempt=attempt, error=e.message)
                if attempt == _ATTEMPTS:
                    raise type(e)(
                        f"{e.message}, {_ATTEMPTS} times", **e.numbers, attempts=_ATTEMPTS
                    ) from e
            else:
                self._answered = True
                return answer
        raise AssertionError("unreachable")

    async def settle(self, failure: DifferenceImageFailed, place: ArrivalPlace) -> ChildAnswer:
        """Have a new child commit a failure, so that no later try contradicts it.

        Returns
        -------
        answer
            The failure, or what stands in the ledger: an earlier try may have made the image.

        Raises
        ------
        TransientError
            It could not be written down: do not publish, do not acknowledge.
        """
        try:
            async with self._turn:
                await self.start()
                answer = await self._bounded(
                    self._settings.start_timeout, settle_in_child, failure, place
                )
        except (SubtractionTimeoutError, WorkerCrashError, _StoreSilentError) as e:
            raise TransientError(f"the failure cannot be written down: {e}") from e
        if answer.outcome is None:
            raise TransientError(f"the failure cannot be written down: {answer.message}")
        return answer

    async def spare[T](self, idle: Callable[[], bool], call: Callable[[], T]) -> T | None:
        """Have the child do something else, if nothing of the night's waits for it.

        An arrival that comes meanwhile waits until this is done, as it would for another arrival.

        Parameters
        ----------
        idle
            Asked when it is our turn.
        call
            What is to be done; must travel.

        Returns
        -------
        answer
            `None`: not idle, nothing was done.

        Raises
        ------
        SubtractionTimeoutError, WorkerCrashError
            The child hung or died, and was replaced.
        TransientError
            A store gave no answer.
        """
        async with self._turn:
            if not idle():
                return None
            try:
                await self.start()
                return await self._bounded(self._limit, call)
            except _StoreSilentError as e:
                raise TransientError(str(e)) from e

    async def read_ahead(self, templates: tuple[TemplateCoadd, ...]) -> ReadAheadReport | None:
        """Have the child read templates beside its work, and hear about earlier ones.

        Starts no child, replaces none and takes no part in retries: `None` when there is no
        child to do it. Waits for the subtraction in hand, and delays none.
        """
        if self._executor is None:
            return None
        try:
            future = self._executor.submit(read_ahead_in_child, templates)
        except (BrokenProcessPool, RuntimeError):
            # It died or was closed: the next arrival makes a new one.
            return None
        asked = asyncio.wrap_future(future)
        # Not awaited itself: a pool that is closed cancels it, which is no cancellation of ours.
        await asyncio.wait({asked})
        return None if asked.cancelled() or asked.exception() else asked.result()

    def close(self) -> None:
        """Kill the child."""
        executor, self._executor = self._executor, None
        if executor is not None:
            for process in child_processes(executor):
                process.kill()
            executor.shutdown(wait=False, cancel_futures=True)

    async def _answer[T](self, asked: asyncio.Future[T], seconds: float) -> T:
        # The clock of the call stands while the child waits for a store, and while this process
        # was frozen itself: the answer may lie there unread.
        spent, seen, waited = 0.0, time.monotonic(), self._waits.seconds
        while True:
            now, all_waits = time.monotonic(), self._waits.seconds
            spent += max(0.0, min(now - seen, 2.0 * _LOOK) - (all_waits - waited))
            seen, waited = now, all_waits
            silent = self._waits.current
            if silent >= self._settings.store_timeout:
                raise _StoreSilentError(silent)
            if spent >= seconds and not silent:
                raise TimeoutError
            rest = self._settings.store_timeout - silent if silent else seconds - spent
            # Looked at again, since a wait may begin or end at any time.
            done, _ = await asyncio.wait({asked}, timeout=min(max(rest, 0.01), _LOOK))
            if done:
                return asked.result()

    @property
    def _limit(self) -> float:
        settings = self._settings
        limit = settings.subtraction_timeout
        return limit if self._answered else max(limit, settings.first_subtraction_timeout)

    async def _bounded[**P, T](
        self, seconds: float, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        assert self._executor is not None
        wrapped: asyncio.Future[T] | None = None
        try:
            # Submitted from the main thread: the child dies with the thread that spawned it.
            wrapped = asyncio.wrap_future(self._executor.submit(call, *args, **kwargs))
            return await self._answer(wrapped, seconds)
        except (TimeoutError, _StoreSilentError) as e:
            # Fetched, so that it is not logged as forgotten.
            assert wrapped is not None
            wrapped.add_done_callback(lambda late: late.cancelled() or late.exception())
            self.close()
            if isinstance(e, _StoreSilentError):
                raise
            raise SubtractionTimeoutError(
                f"the subtraction's process gave no answer in {seconds:g} s", timeout=seconds
            ) from e
        except BrokenProcessPool as e:
            self.close()
            raise WorkerCrashError("the subtraction's process died (out of memory?)") from e
