import pickle

from residua.errors import ResiduaError
from residua.retries import tries
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
