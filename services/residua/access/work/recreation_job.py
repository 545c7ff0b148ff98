"""What a job does that has an image made again: it waits, and tells how far that is."""

import asyncio
from collections.abc import Mapping
from typing import Any

from anyio import to_thread
from lsst.resources import ResourcePath

from residua.access.dali.errors import NotFoundError
from residua.access.limits.cancellation import Cancellation
from residua.access.store.jobs import Job, Phase
from residua.access.work.context import Access
from residua.access.work.image_place import is_let_go, must_be_made, place_of
from residua.access.work.running import Work, finish

__all__ = ["recreation"]

_LOOK_SECONDS = 0.5


def recreation(access: Access, row: Mapping[str, Any], caller: str) -> Work:
    """Return the work of a job for an image.

    One that is stored, or was made lately, is there at once. Whoever aborts the job stops waiting;
    the image is made all the same, for others who wait or for who asks next.

    Parameters
    ----------
    row
        Of the image; the caller may read it.
    caller
        Whose places it takes.
    """

    async def work(job: Job, cancelled: Cancellation) -> None:
        if not access.recreations.offered and is_let_go(row):
            raise NotFoundError("the image is not stored, and not made again here")
        location = await to_thread.run_sync(place_of, access, str(row["uri"]))
        is_gone = await to_thread.run_sync(must_be_made, access, row, location)
        if is_gone and not await _waited(access, row, caller, job, cancelled):
            return
        values: dict[str, str | int] = {
            "result_file": f"{row['dataset_id']}.fits",
            "result_type": "application/fits",
            "progress": "there",
        }
        store = access.recreation_jobs
        await to_thread.run_sync(lambda: finish(store, job, Phase.COMPLETED, None, **values))

    return work


async def _waited(
    access: Access, row: Mapping[str, Any], caller: str, job: Job, cancelled: Cancellation
) -> bool:
    """Wait for the image; return whether it is there, and not aborted."""
    task: asyncio.Task[ResourcePath] = asyncio.create_task(
        access.recreations.make(row, caller, job.seconds)
    )
    told: str | None = None

    def tell(words: str) -> None:
        access.recreation_jobs.change(job.job_id, (Phase.EXECUTING,), progress=words)

    try:
        while not task.done() and not cancelled.is_set():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            words = access.recreations.progress(row)
            if words is not None and words != told:
                told = words
                await to_thread.run_sync(tell, words)
        if task.done():
            task.result()
            return not cancelled.is_set()
        return False
    finally:
        task.cancel()
