"""The image store on an S3 server (SeaweedFS, where it is installed)."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from lsst.resources import ResourcePath
from tests.support.servers.s3 import running_s3, s3_missing

from residua.errors import MissingFileError, TransientError, UriNotAllowedError
from residua.simulation.input_files import write_visit_image
from residua.storage.describe import describe_visit_image
from residua.storage.objects import publish, read_object, resolve
from residua.storage.read.read_back import read_difference_image
from residua.storage.store import ImageFileStore

pytestmark = pytest.mark.skipif(s3_missing() is not None, reason=str(s3_missing()))


@pytest.fixture(scope="module")
def s3():
    """Start a server with one bucket; the environment names it to lsst.resources."""
    with running_s3("images") as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


def test_objects_are_read_and_put_whole(s3):
    folder = ResourcePath("s3://images/a/", forceDirectory=True)
    location, checksum, size = publish(
        folder, lambda path: path.write_bytes(b"content"), lambda _: "b.bin"
    )
    assert size == 7
    assert read_object(location, checksum)[0] == b"content"
    with pytest.raises(MissingFileError):
        read_object(ResourcePath("s3://images/a/none.bin"), None)
    with pytest.raises(UriNotAllowedError):
        resolve("s3://images/b/x.fits", ["s3://images/a"])

    def fail(path):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        publish(folder, fail, lambda _: "c.bin")
    assert s3.keys("images") == ["a/b.bin"]


def test_a_difference_image_on_s3(s3, tmp_path, science, observation, difference, provenance):
    write_visit_image(tmp_path / "v.fits", science, observation)
    s3.client().put_object(
        Bucket="images", Key="visits/v.fits", Body=(tmp_path / "v.fits").read_bytes()
    )
    arrival = describe_visit_image("s3://images/visits/v.fits")
    store = ImageFileStore(
        input_roots=["s3://images/visits"],
        template_roots=[],
        output_root="s3://images/out",
    )
    visit = store.read_visit_image(arrival)
    made_of = replace(provenance, visit_image=visit.reference)
    stored = store.write_difference_image(lambda _: "run/d.fits", difference, visit, made_of)
    assert stored.uri == "s3://images/out/run/d.fits"
    assert stored.preview_uri == "s3://images/out/run/d.png"
    assert read_difference_image(stored.uri, checksum=stored.checksum).unit == "nJy"
    # The same bytes as on a disk.
    local = ImageFileStore(
        input_roots=["s3://images/visits"], template_roots=[], output_root=str(tmp_path / "out")
    )
    again = local.write_difference_image(lambda _: "run/d.fits", difference, visit, made_of)
    assert again.checksum == stored.checksum


def test_a_policy_that_refuses_is_named_with_what_it_must_grant(s3, monkeypatch):
    location = ResourcePath("s3://images/refused.bin")

    def refuse(self, size=-1):
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")

    monkeypatch.setattr(type(location), "read", refuse)
    with pytest.raises(TransientError, match="s3:ListBucket"):
        read_object(location, None)
