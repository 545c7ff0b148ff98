"""The image store on an S3 server (SeaweedFS, where it is installed)."""

import json
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from lsst.resources import ResourcePath

from residua.errors import MissingFileError, UriNotAllowedError
from residua.storage.describe import describe_visit_image
from residua.storage.difference import read_difference_image
from residua.storage.inputs import write_visit_image
from residua.storage.objects import publish, read_object, resolve
from residua.storage.store import ImageFileStore

WEED = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")

pytestmark = pytest.mark.skipif(WEED is None, reason="SeaweedFS is not installed")


def _free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """Start a server with one bucket; the environment names it to lsst.resources."""
    boto3 = pytest.importorskip("boto3")
    folder = tmp_path_factory.mktemp("s3")
    identities = {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": "key", "secretKey": "secret"}],
                "actions": ["Admin", "Read", "Write", "List"],
            }
        ]
    }
    (folder / "identities.json").write_text(json.dumps(identities))
    master, volume, filer, port, *grpc = _free_ports(8)
    server = subprocess.Popen(
        [
            WEED,
            "server",
            "-s3",
            f"-s3.config={folder}/identities.json",
            "-filer",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={folder}",
            f"-master.port={master}",
            f"-master.port.grpc={grpc[0]}",
            f"-volume.port={volume}",
            f"-volume.port.grpc={grpc[1]}",
            f"-filer.port={filer}",
            f"-filer.port.grpc={grpc[2]}",
            f"-s3.port={port}",
            f"-s3.port.grpc={grpc[3]}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    for attempt in range(60):
        try:
            client.create_bucket(Bucket="images")
            break
        except Exception:  # noqa: BLE001 -- whatever keeps it from answering yet
            if attempt == 59:
                server.kill()
                pytest.skip("SeaweedFS does not start here")
            time.sleep(0.5)
    yield client
    # It holds nothing worth keeping, and takes its time to stop by itself.
    server.kill()
    server.wait()
    patch.undo()


def test_objects_are_read_and_put_whole(s3):
    location = ResourcePath("s3://images/a/b.bin")
    checksum, size = publish(location, lambda path: path.write_bytes(b"content"))
    assert size == 7
    assert read_object(location, checksum)[0] == b"content"
    with pytest.raises(MissingFileError):
        read_object(ResourcePath("s3://images/a/none.bin"), None)
    with pytest.raises(UriNotAllowedError):
        resolve("s3://images/b/x.fits", ["s3://images/a"])

    def fail(path):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        publish(ResourcePath("s3://images/a/c.bin"), fail)
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="images")["Contents"]]
    assert keys == ["a/b.bin"]


def test_a_difference_image_on_s3(s3, tmp_path, science, observation, difference, provenance):
    write_visit_image(tmp_path / "v.fits", science, observation)
    s3.put_object(Bucket="images", Key="visits/v.fits", Body=(tmp_path / "v.fits").read_bytes())
    arrival = describe_visit_image("s3://images/visits/v.fits")
    store = ImageFileStore(
        input_roots=["s3://images/visits"],
        template_roots=[],
        output_root="s3://images/out",
    )
    visit = store.read_visit_image(arrival)
    made_of = replace(provenance, visit_image=visit.reference)
    stored = store.write_difference_image("run/d.fits", difference, visit, made_of)
    assert stored.uri == "s3://images/out/run/d.fits"
    assert stored.preview_uri == "s3://images/out/run/d.png"
    assert read_difference_image(stored.uri, checksum=stored.checksum).unit == "nJy"
    # The same bytes as on a disk.
    local = ImageFileStore(
        input_roots=["s3://images/visits"], template_roots=[], output_root=str(tmp_path / "out")
    )
    again = local.write_difference_image("run/d.fits", difference, visit, made_of)
    assert again.checksum == stored.checksum
