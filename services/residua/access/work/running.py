"""Running a job: the query in a thread, its result in a file, its phase in the table."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from anyio import to_thread

from residua.access.dali.cells import Batches, checked
from residua.access.dali.errors import RequestError, UsageError
from residua.access.dali.parameters import Parameters
from residua.access.dali.query_parameters import checked_query, format_asked
from residua.access.limits.cancellation import Cancellation
from residua.access.store.jobs import Job, JobStore, Phase
from residua.access.store.query_limits import Limits
from residua.access.work.context import Access
from residua.access.work.query import (
    max_rows_of,
    translated,
    views_of,
)
from residua.access.work.tables_elsewhere import Asker

__all__ = ["Work", "finish", "start", "start_work", "stop_all"]

_log = structlog.get_logger(__name__)
_POLL_SECONDS = 0.5


type Work = Callable[[Job, Cancellation], Awaitable[None]]
"""Does what a job is for, and calls `finish`; raises what its error is."""


async def start(access: Access, job: Job, base_url: str, *, sees_all: bool) -> bool:
    """Queue a pending query; return whether it was pending.

    Parameters
    ----------
    sees_all
        Whether it may read what is not public yet; its result then needs the same right.
    """

    async def query(taken: Job, cancelled: Cancellation) -> None:
        await to_thread.run_sync(_execute, access, taken, base_url, cancelled)

    return await start_work(
        access, access.jobs, job, query, sees_all=sees_all, slots=access.job_slots
    )


async def start_work(
    access: Access,
    store: JobStore,
    job: Job,
    work: Work,
    *,
    sees_all: bool,
    slots: AbstractAsyncContextManager[object] | None = None,
) -> bool:
    """Queue a pending job; return whether it was pending.

    Parameters
    ----------
    slots
        What is held while it works; a job whose work waits elsewhere needs none.
    """
    queued = await to_thread.run_sync(
        lambda: store.change(
            job.job_id, (Phase.PENDING,), phase=Phase.QUEUED.value, sees_all=sees_all
        )
    )
    if queued:
        job = replace(job, sees_all=sees_all)
        task = asyncio.create_task(_run(store, job, work, slots or nullcontext()))
        access.tasks[job.job_id] = task
        task.add_done_callback(lambda _: access.tasks.pop(job.job_id, None))
    return queued


async def stop_all(access: Access) -> None:
    """End the jobs this process runs; they are left as failed."""
    tasks = list(access.tasks.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _run(
    store: JobStore, job: Job, work: Work, slots: AbstractAsyncContextManager[object]
) -> None:
    cancelled = Cancellation()
    watch = asyncio.create_task(_watch(store, job, cancelled))
    try:
        async with slots:
            now = datetime.now(UTC)
            taken = await to_thread.run_sync(
                lambda: store.change(
                    job.job_id, (Phase.QUEUED,), phase=Phase.EXECUTING.value, started=now
                )
            )
            if taken:
                await work(job, cancelled)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.shield(
            to_thread.run_sync(finish, store, job, Phase.ERROR, "the service was stopped")
        )
        raise
    except RequestError as e:
        await to_thread.run_sync(finish, store, job, Phase.ERROR, e.message)
    except Exception as e:  # noqa: BLE001 a job always ends in a final phase
        _log.exception("job failed", job_id=job.job_id)
        await to_thread.run_sync(finish, store, job, Phase.ERROR, type(e).__name__)
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(store: JobStore, job: Job, cancelled: Cancellation) -> None:
    """Set ``cancelled`` once the job is aborted or deleted, here or by another replica."""
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        current = await to_thread.run_sync(store.get, job.job_id)
        if current is None or current.phase is Phase.ABORTED:
            cancelled.set()
            return


def _execute(access: Access, job: Job, base_url: str, cancelled: Cancellation) -> None:
    parameters = Parameters({name: [value] for name, value in job.parameters.items()})
    max_rows = max_rows_of(access, parameters)
    form = format_asked(parameters)
    owner = job.owner if access.settings.tokens_required else None
    asker = Asker(base_url, owner, job.sees_all)
    translation = translated(access, checked_query(parameters), max_rows, parameters, asker)
    views = views_of(access, sees_all=job.sees_all)
    limits = Limits(job.seconds, cancelled)
    name = f"{job.job_id}.{form.suffix}"
    partial = access.jobs.directory / f"{name}.part"
    limit = access.settings.max_answer_bytes
    try:
        # A statement that is left open keeps its connection locked, for whoever collects it too.
        with (
            closing(access.catalog.rows(translation, limits, views, service=base_url)) as batches,
            partial.open("wb") as file,
        ):
            columns = translation.columns
            rows = _Watched(checked(columns, batches))
            size = 0
            for chunk in form.write(columns, rows, max_rows):
                size += len(chunk)
                if size > limit:
                    raise UsageError(f"the result has more than {limit} bytes; ask for less")
                file.write(chunk)
        if rows.error is not None:
            raise rows.error
        partial.replace(access.jobs.directory / name)
    finally:
        partial.unlink(missing_ok=True)
    done = finish(
        access.jobs,
        job,
        Phase.COMPLETED,
        None,
        result_file=name,
        result_type=form.media_type,
        result_bytes=size,
    )
    if not done:
        (access.jobs.directory / name).unlink(missing_ok=True)


class _Watched:
    """Passes batches on and remembers the error that ended them.

    The writers turn an error into words in the document; a job has a phase for it.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        try:
            yield from self._batches
        except Exception as e:
            self.error = e
            raise


def finish(store: JobStore, job: Job, phase: Phase, error: str | None, **values: str | int) -> bool:
    """End a job that was not ended meanwhile; return whether it was ended by this."""
    return store.change(
        job.job_id,
        (Phase.QUEUED, Phase.EXECUTING),
        phase=phase.value,
        ended=datetime.now(UTC),
        error=error,
        **values,
    )
