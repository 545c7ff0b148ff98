"""Row strips over a pool of threads: the one way in which the subtraction uses several cores.

Strips have a constant size, never one derived from the number of threads, and each output
pixel is written by exactly one strip; so the result has the same bits whatever the number of
threads. Kernels release the GIL (numba ``nogil``), so a plain thread pool is enough and needs
no threading layer that would break in forked children or under concurrent callers.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["STRIP_ROWS", "run_beside", "run_strips"]

STRIP_ROWS = 64
"""Rows per strip; a constant, because block borders are part of the result."""


def run_strips(
    function: Callable[[int, int], None],
    n_rows: int,
    *,
    strip_rows: int = STRIP_ROWS,
    threads: int = 1,
) -> None:
    """Call ``function(first_row, end_row)`` for every strip of rows, on several threads.

    Parameters
    ----------
    function
        Does the rows ``first_row <= y < end_row``; must write no other row.
    n_rows
        Rows of the plane.
    strip_rows
        Rows per strip.
    threads
        Threads to use; 1 runs in the calling thread.

    Raises
    ------
    Exception
        The first error (by row) that ``function`` raised.
    """
    strips = [(y, min(y + strip_rows, n_rows)) for y in range(0, n_rows, strip_rows)]
    if threads <= 1 or len(strips) == 1:
        for first, end in strips:
            function(first, end)
        return
    remaining, lock = enumerate(strips), threading.Lock()
    errors: dict[int, BaseException] = {}

    def work() -> None:
        while not errors:
            with lock:
                number, strip = next(remaining, (-1, None))
            if strip is None:
                return
            try:
                function(*strip)
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                errors[number] = error

    # The caller works too: every thread more is one more heap that keeps its freed memory.
    helpers = [
        threading.Thread(target=work, name=f"residua-strip-{n}")
        for n in range(1, min(threads, len(strips)))
    ]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        # Strips are taken in order, so every earlier one has been done: the first is certain.
        raise errors[min(errors)]


def run_beside[T](function: Callable[[], T], *, threads: int = 1) -> Callable[[], T]:
    """Start a function on another thread, beside what the caller does next.

    Parameters
    ----------
    function
        Shares nothing that either side writes.
    threads
        With 1 the function runs in the calling thread, when its result is asked for, so that
        errors come in the same order.

    Returns
    -------
    Callable
        Waits for the function and returns its result, or raises its error.
    """
    if threads <= 1:
        return function
    pool = ThreadPoolExecutor(1, "residua-beside")
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future.result
