import asyncio
import pickle

import pytest

from residua.errors import ResiduaError
from residua.retries import begun_anew, tries
from residua.subtraction.errors import BadSubtractionError, NumericalError, caused_by


def test_pauses_double_up_to_the_longest_and_the_last_try_has_none():
    found = list(tries(5, 1.0, longest_pause=3.0, uniform=lambda low, high: high))
    assert found == [(1, 1.5), (2, 3.0), (3, 4.5), (4, 4.5), (5, None)]


def test_pauses_are_spread():
    pauses = {pause for _ in range(20) for _, pause in tries(2, 1.0) if pause is not None}
    assert len(pauses) > 10
    assert all(0.5 <= pause <= 1.5 for pause in pauses)


def test_one_try_never_waits():
    assert list(tries(1, 1.0)) == [(1, None)]


def test_errors_of_the_core_have_the_one_root_and_travel_whole():
    try:
        with caused_by("template"):
            raise BadSubtractionError("too noisy", pull=1.4)
    except ResiduaError as e:
        error = pickle.loads(pickle.dumps(e))
    assert type(error) is BadSubtractionError
    assert (error.message, error.numbers, error.input) == ("too noisy", {"pull": 1.4}, "template")
    assert issubclass(NumericalError, ResiduaError)


@pytest.mark.asyncio
async def test_what_ends_is_begun_anew_after_growing_pauses():
    told, began = [], 0

    async def follow():
        nonlocal began
        began += 1
        if began == 5:
            raise asyncio.CancelledError
        raise OSError("away")

    with pytest.raises(asyncio.CancelledError):
        await begun_anew(
            follow, lambda e, pause: told.append((str(e), pause)),
            first_pause=0.01, longest_pause=0.5,
        )  # fmt: skip
    assert told == [("away", 0.01), ("away", 0.02), ("away", 0.04), ("away", 0.08)]
