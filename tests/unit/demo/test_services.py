"""The supervisor of `residua up`: who gets a new start, and who is reported."""

import os
import time

import pytest

from residua.demo.services import ServiceDiedError, ServiceProcesses
from residua.worker.watchdog import EXIT_CODE


def end(settings):
    """A service: leaves a line for each start, and ends with the code it is told to."""
    path, codes = settings
    with path.open("a") as file:
        file.write("started\n")
    number = len(path.read_text().splitlines())
    if number <= len(codes):
        print("something to say", flush=True)
        os._exit(codes[number - 1])
    time.sleep(600)


def until(condition, services, told):
    deadline = time.monotonic() + 120
    while not condition():
        told += services.check()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_worker_whose_watchdog_ended_it_is_started_again(tmp_path):
    starts, told = tmp_path / "starts", []
    with ServiceProcesses(tmp_path / "logs") as services:
        services.start("worker", end, (starts, [EXIT_CODE, EXIT_CODE]))
        until(lambda: len(told) == 2, services, told)
        until(lambda: len(starts.read_text().splitlines()) == 3, services, told)
        assert services.check() == []
    assert all("exit code 70" in line and "something to say" in line for line in told)


def test_one_that_cannot_start_is_reported(tmp_path):
    with ServiceProcesses(tmp_path / "logs") as services:
        services.start("catalog", end, (tmp_path / "starts", [1]))
        with pytest.raises(ServiceDiedError, match=r"catalog stopped \(exit code 1\): something"):
            until(lambda: False, services, [])


def test_one_that_ends_again_and_again_is_given_up(tmp_path):
    told = []
    with ServiceProcesses(tmp_path / "logs") as services:
        services.start("worker", end, (tmp_path / "starts", [EXIT_CODE] * 20))
        with pytest.raises(ServiceDiedError, match="exit code 70"):
            until(lambda: False, services, told)
    assert len(told) == 5
