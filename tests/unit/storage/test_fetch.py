"""Absence is not outage: what is missing is believed only where the root is there."""

import threading

import pytest
from lsst.resources import ResourcePath
from tests.support.servers.s3 import running_s3, s3_missing

from residua.errors import ChecksumMismatchError, MissingFileError, TransientError
from residua.storage.fetch import fetch
from residua.storage.objects import checksum_of, publish_bytes, read_object


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "visits"
    folder.mkdir()
    (folder / "v.fits").write_bytes(b"content")
    return folder


def test_missing_under_a_root_that_is_there_is_missing(root):
    with pytest.raises(MissingFileError):
        fetch("none.fits", [str(root)], None)


def test_an_unmounted_root_is_an_outage_not_a_missing_file(root):
    away = root.rename(root.with_name("away"))
    with pytest.raises(TransientError, match="is not there"):
        fetch("v.fits", [str(root)], None)
    # A mount point without its file system.
    root.mkdir()
    with pytest.raises(TransientError, match="empty"):
        fetch("v.fits", [str(root)], None)
    root.rmdir()
    away.rename(root)
    assert fetch("v.fits", [str(root)], None)[0] == b"content"


def test_a_root_that_is_unmounted_between_two_readings_is_an_outage(root):
    with pytest.raises(TransientError):
        fetch("none.fits", [str(root)], None, pause=lambda _: root.rename(root.with_name("gone")))


@pytest.mark.parametrize("first", [None, b"con", b"CONTENT"])
def test_a_file_that_is_late_is_read_again(root, first):
    place = root / "late.fits"
    if first is not None:
        place.write_bytes(first)
    pauses = []

    def arrives(seconds):
        pauses.append(seconds)
        place.write_bytes(b"content")

    checksum = checksum_of(b"content")
    assert fetch("late.fits", [str(root)], checksum, grace=3.0, pause=arrives)[0] == b"content"
    assert pauses == [3.0]


def test_other_bytes_are_final_at_the_second_reading(root):
    pauses = []
    with pytest.raises(ChecksumMismatchError):
        fetch("v.fits", [str(root)], checksum_of(b"other"), pause=pauses.append)
    assert len(pauses) == 1


@pytest.mark.skipif(s3_missing() is not None, reason=str(s3_missing()))
def test_no_such_bucket_is_an_outage(monkeypatch):
    with running_s3("images") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        publish_bytes(ResourcePath("s3://images/in/there"), b"x")
        with pytest.raises(MissingFileError):
            fetch("in/none", ["s3://images/"], None)
        for action in (
            lambda: fetch("s3://nobody/in/none", ["s3://nobody/in"], None),
            lambda: read_object(ResourcePath("s3://nobody/in/none"), None),
        ):
            with pytest.raises(TransientError):
                action()


def test_only_the_main_threads_waits_stand_on_the_clock():
    import multiprocessing

    from residua.storage.waits import StoreWaits, observe_store_waits, waiting_for_store

    now = [100.0]
    waits = StoreWaits(multiprocessing.get_context("spawn"), lambda: now[0])
    observe_store_waits(waits)
    try:
        with waiting_for_store():
            now[0] += 5.0
            assert (waits.current, waits.seconds) == (5.0, 5.0)
            with waiting_for_store():
                now[0] += 1.0
        assert (waits.current, waits.seconds) == (0.0, 6.0)

        def beside():
            with waiting_for_store():
                now[0] += 7.0

        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
        assert waits.seconds == 6.0
    finally:
        observe_store_waits(None)
