"""Running `residua demo` and `residua serve` as people do, in processes of their own."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SCRIPT = "from residua.cli.main import main; main()"
ARGUMENTS = ["--detector-size", "700x640", "--visit-count", "3", "--seed", "11"]


def run_demo(output: Path, *arguments: str, seconds: float = 500.0) -> dict[str, Any]:
    """Run the demo, for so long at most; return its summary."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, "demo", "-o", str(output), "--json", "-", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    logs = "".join(p.read_text()[-2000:] for p in sorted((output / "logs").glob("*.log")))
    assert result.returncode == 0, result.stderr + logs
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


@contextmanager
def serve(directory: str) -> Iterator[int]:
    """Run `residua serve`; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "serve", "-c", directory, "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert server.poll() is None
            time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait(120)
