"""Starting the access service."""

import sys
from types import FrameType
from typing import cast, override

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from residua.access.app import create_app
from residua.access.limits.connection import impatient_protocol
from residua.access.settings import AccessSettings
from residua.telemetry import configure_logging

__all__ = ["main", "serve", "server_config"]


def serve(settings: AccessSettings) -> None:
    """Serve until a signal ends the process."""
    configure_logging(settings, "access")
    app = create_app(settings)
    app.state.gate.metrics.serve(settings)
    _Server(server_config(app, settings)).run()


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
    serve(settings)
    return 0
