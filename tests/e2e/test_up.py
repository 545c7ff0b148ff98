"""`residua up` with nothing said."""

import os
import signal
import subprocess
import sys

import pytest
from tests.support.servers.server_process import wait_until


@pytest.mark.slow
def test_up_alone_starts_here_says_what_it_does_and_ends_in_order(tmp_path):
    command = [sys.executable, "-c", "from residua.cli.main import main; main()", "up"]
    log = tmp_path / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT, env=dict(os.environ)
        )
    try:
        wait_until(lambda: "Ctrl-C stops" in log.read_text(), "it is up", seconds=240)
        assert f"visits under {tmp_path}" in log.read_text().replace("\n", "")
        process.send_signal(signal.SIGINT)
        assert process.wait(180) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
