"""Reading and writing through a store that fails in every way it can: what each failure becomes."""

import os

import pytest
from lsst.resources import ResourcePath
from tests.support.servers.faulty_store import running_faulty_store

from residua.errors import ChecksumMismatchError, MissingFileError, TransientError
from residua.storage.objects import checksum_of, publish_bytes, read_object

OUTAGES = ("401", "403", "500", "503", "no bucket", "reset", "cut")


@pytest.fixture
def faulty(s3_server, monkeypatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with running_faulty_store(s3_server.environment["S3_ENDPOINT_URL"]) as store:
        monkeypatch.setenv("S3_ENDPOINT_URL", store.address)
        yield store


@pytest.fixture
def stored(faulty, request):
    content = os.urandom(50_000)
    location = ResourcePath(f"s3://visits/{abs(hash(request.node.name))}.bin")
    publish_bytes(location, content)
    return location, content


# The client asks for a minute before it gives up: seven minutes for the seven.
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", OUTAGES)
def test_an_outage_is_never_blamed_on_the_file_and_passes(faulty, stored, mode):
    location, content = stored
    faulty.mode = mode
    with pytest.raises(TransientError):
        read_object(location, checksum_of(content))
    with pytest.raises(TransientError):
        read_object(location, None)
    faulty.mode = "ok"
    assert bytes(read_object(location, checksum_of(content))[0]) == content


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", [m for m in OUTAGES if m != "cut"])
def test_what_could_not_be_written_is_an_outage_and_is_written_when_it_is_over(
    faulty, stored, mode
):
    location, _ = stored
    faulty.mode = mode
    with pytest.raises(TransientError):
        publish_bytes(location, b"new")
    faulty.mode = "ok"
    publish_bytes(location, b"new")
    assert bytes(read_object(location, None)[0]) == b"new"


@pytest.mark.parametrize("mode", ["short", "flipped"])
def test_other_bytes_than_announced_are_told_by_their_checksum(faulty, stored, mode):
    location, content = stored
    faulty.mode = mode
    # The store's own checksum: what was damaged on its way is read again.
    with pytest.raises(TransientError):
        read_object(location, checksum_of(content))
    faulty.checksums = False
    with pytest.raises(ChecksumMismatchError):
        read_object(location, checksum_of(content))


def test_missing_is_missing(faulty, stored):
    location, content = stored
    with pytest.raises(MissingFileError):
        read_object(location.updatedFile("another"), checksum_of(content))
