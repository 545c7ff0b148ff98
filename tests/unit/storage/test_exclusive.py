"""Objects that are put only where none is, and the names and times of those there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from lsst.resources import ResourcePath
from tests.support.servers.s3 import running_s3, s3_missing

from residua.storage.exclusive import list_names, list_times, probe, put_if_absent


@pytest.mark.parametrize("store", ["directory", "s3"])
def test_of_many_that_put_a_name_one_wins(tmp_path, store, request, monkeypatch):
    if store == "s3":
        if s3_missing():
            pytest.skip(s3_missing())
        server = request.getfixturevalue("s3_images")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        folder = ResourcePath("s3://images/ledger/", forceDirectory=True)
    else:
        folder = ResourcePath(str(tmp_path / "deep" / "er"), forceDirectory=True)
    probe(folder)
    for n in range(10):
        location = folder.join(f"{n}.json")
        barrier = threading.Barrier(8)

        def put(k, location=location, barrier=barrier):
            barrier.wait()
            return put_if_absent(location, b"%d" % k)

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(put, range(8)))
        assert sum(won) == 1
        assert location.read() == b"%d" % won.index(True)
    assert list_names(folder) == [f"{n}.json" for n in range(10)]
    times = list_times(folder)
    assert sorted(times) == list_names(folder)
    assert all(abs(datetime.now(UTC) - at) < timedelta(minutes=10) for at in times.values())
    assert list_times(folder.join("none/", forceDirectory=True)) == {}


@pytest.fixture
def s3_images():
    with running_s3("images") as server:
        yield server
