"""Starting the access service."""

import errno
import socket
import sys
from types import FrameType
from typing import cast, override

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from residua.access.app import create_app
from residua.access.limits.connection import impatient_protocol
from residua.access.settings import AccessSettings
from residua.errors import ResiduaError
from residua.telemetry import configure_logging

__all__ = ["ListenError", "listen", "main", "serve", "server_config"]


class ListenError(ResiduaError):
    """The address cannot be listened on."""

    responsible = "operator"


def listen(host: str, port: int) -> socket.socket:
    """Take the port, before anything is opened or promised.

    Raises
    ------
    ListenError
        Another process has the port, or the address is not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.create_server(address[:2], family=family)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise ListenError(
                f"port {port} of {host} is in use by another process: end that, or choose another "
                "port (0 for any free one)"
            ) from e
        reason = e.strerror or str(e)
        raise ListenError(f"cannot listen on port {port} of {host}: {reason}") from e
    # Connections inherit it. asyncio sets it only where the listener names its protocol, and
    # without it each answer on a kept connection waits 40 ms for the client's acknowledgement.
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


def serve(settings: AccessSettings, listener: socket.socket | None = None) -> None:
    """Serve until a signal ends the process.

    Parameters
    ----------
    listener
        What `listen` returned; by default the port of the settings is taken here.

    Raises
    ------
    ListenError
        The port cannot be had.
    """
    with listener or listen(settings.host, settings.port) as taken:
        configure_logging(settings, "access")
        app = create_app(settings)
        app.state.gate.metrics.serve(settings)
        _Server(server_config(app, settings)).run(sockets=[taken])


class _Server(uvicorn.Server):
    """Lets pages that follow the night know of the end, or it would wait for them."""

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        app: FastAPI = cast("FastAPI", self.config.app)
        if hasattr(app.state, "access"):
            app.state.access.stopping.set()


def server_config(app: FastAPI, settings: AccessSettings) -> uvicorn.Config:
    """Return how the server is run, with its limits on slow clients."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=impatient_protocol(settings.read_seconds, settings.write_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[("Server", "Residua")],
        timeout_graceful_shutdown=10,
    )


def main() -> int:
    """Serve with the settings of the environment."""
    try:
        settings = AccessSettings()
    except ValidationError as e:
        for problem in e.errors():
            print(f"residua access: {problem['msg']}", file=sys.stderr)  # noqa: T201 for a person
        return 2
    try:
        serve(settings)
    except ListenError as e:
        print(f"residua access: {e.message} (RESIDUA_PORT)", file=sys.stderr)  # noqa: T201 for a person
        return 1
    return 0
