"""What keeps `residua serve` from serving is said in one line, before an address is promised."""

import os
import socket
import subprocess
import sys

import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from residua.access.main import ListenError, listen
from residua.cli.main import app
from residua.obscore import create_tables


@pytest.fixture
def directory(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("RESIDUA_")]:
        monkeypatch.delenv(name)
    engine = create_engine(f"sqlite:///{tmp_path}/catalog.sqlite")
    create_tables(engine)
    engine.dispose()
    return tmp_path


def refused(*options):
    done = CliRunner().invoke(app, ["serve", *options])
    assert "http://" not in done.stdout
    [line] = done.stderr.splitlines()
    return done.exit_code, line


def test_an_open_address_without_tokens(directory):
    code, line = refused("--catalog", str(directory), "--host", "0.0.0.0")
    assert code == 2
    assert "0.0.0.0 is not loopback" in line
    assert "RESIDUA_JWKS_URL" in line
    assert "--open" in line


def test_a_port_in_use(directory):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, line = refused("--catalog", str(directory), "--port", str(port))
    assert code == 1
    assert f"port {port} of 127.0.0.1 is in use" in line


def test_the_service_itself_says_the_same(directory):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environment = {
            **os.environ,
            "RESIDUA_CATALOG_URL": f"sqlite:///{directory}/catalog.sqlite",
            "RESIDUA_PORT": str(port),
        }
        done = subprocess.run(
            [sys.executable, "-m", "residua.access"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"port {port} of 127.0.0.1 is in use" in line
    assert "RESIDUA_PORT" in line


def test_an_address_of_another_machine_and_no_catalog(directory):
    with pytest.raises(ListenError, match=r"cannot listen on port 0 of 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    code, line = refused("--catalog", str(directory / "nowhere"))
    assert code == 1
    assert "residua demo" in line


def test_answers_do_not_wait_for_an_acknowledgement():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as accepted,
    ):
        assert client.getpeername() == accepted.getsockname()
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
