"""Starting the access service."""

import sys

import uvicorn
from pydantic import ValidationError

from residua.access.app import create_app
from residua.access.settings import AccessSettings
from residua.telemetry import configure_logging

__all__ = ["main", "serve"]


def serve(settings: AccessSettings) -> None:
    """Serve until a signal ends the process."""
    configure_logging(settings, "access")
    app = create_app(settings)
    app.state.gate.metrics.serve(settings.metrics_port)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
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
