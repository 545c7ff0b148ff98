"""Strips cover every row once, in constant pieces, and pass errors on."""

import threading

import numpy as np
import pytest

from residua.subtraction.engine.threads import run_beside, run_strips


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n_rows", [1, 64, 65, 1000])
def test_every_row_is_done_once(n_rows, threads):
    visits = np.zeros(n_rows, int)
    pieces = []

    def strip(first, end):
        visits[first:end] += 1
        pieces.append((first, end))

    run_strips(strip, n_rows, threads=threads)
    assert (visits == 1).all()
    assert sorted(pieces) == [(y, min(y + 64, n_rows)) for y in range(0, n_rows, 64)]


def test_several_threads_work_at_once():
    # Each strip waits for the other: one thread alone would never pass.
    barrier = threading.Barrier(2, timeout=30)
    run_strips(lambda _first, _end: barrier.wait(), 128, threads=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_strip_reaches_the_caller(threads):
    def strip(first, _end):
        if first == 64:
            raise ValueError("row 64")

    with pytest.raises(ValueError, match="row 64"):
        run_strips(strip, 300, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_work_beside_returns_its_result_or_error(threads):
    assert run_beside(lambda: 7, threads=threads)() == 7

    def fail():
        raise ValueError("beside")

    with pytest.raises(ValueError, match="beside"):
        run_beside(fail, threads=threads)()


def test_work_beside_does_run_beside():
    barrier = threading.Barrier(2, timeout=30)
    wait = run_beside(barrier.wait, threads=2)
    barrier.wait()
    wait()
