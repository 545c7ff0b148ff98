"""A service's sign of life, and the one HTTP port that shows it beside the metrics.

``/live`` says whether the process still does its work, ``/ready`` whether it has begun to, and
``/metrics`` is Prometheus's. A probe of ``/live`` that fails means: start it anew.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, override
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

__all__ = ["Health", "serve_health"]

_SILENCE_SECONDS = 120.0


class Health:
    """What a service says of itself; safe to use from any thread.

    Parameters
    ----------
    file
        Renewed at each beat: the sign of life for those who look at files. Beats with a file of
        their own renew that one.
    silence
        Seconds without a beat after which the service counts as dead.
    clock
        Seconds that only grow; replaced in tests.
    """

    def __init__(
        self,
        file: Path | None = None,
        silence: float = _SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._silence = silence
        self._clock = clock
        self._last = clock()
        self._ready = False

    def beat(self) -> None:
        """Say that the work goes on."""
        self._last = self._clock()
        if self._file is not None:
            with suppress(OSError):
                self._file.touch()

    def become_ready(self) -> None:
        """Say that the service has begun its work."""
        self._ready = True
        self.beat()

    @property
    def seconds_silent(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last

    def live(self) -> tuple[bool, str]:
        """Tell whether the service is alive, and why."""
        silent = self.seconds_silent
        if silent > self._silence:
            return False, f"no sign of life for {silent:.0f} s, limit {self._silence:.0f} s"
        return True, f"alive, last sign {silent:.0f} s ago"

    def ready(self) -> tuple[bool, str]:
        """Tell whether the service is at work, and why."""
        if not self._ready:
            return False, "starting"
        return self.live()


class _Quiet(WSGIRequestHandler):
    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds and are no news."""


def serve_health(
    health: Health, registry: CollectorRegistry, host: str, port: int
) -> WSGIServer | None:
    """Answer ``/live``, ``/ready`` and ``/metrics`` from a thread of its own.

    A port in use is logged, and the service goes on: metrics never stop a service.

    Returns
    -------
    wsgiref.simple_server.WSGIServer or None
        The server, whose ``shutdown`` ends it; `None` when the port is taken.
    """
    metrics = make_wsgi_app(registry)
    probes: dict[str, Callable[[], tuple[bool, str]]] = {
        "/live": health.live,
        "/ready": health.ready,
    }

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in {"/metrics", "/"}:
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        if path in probes:
            well, text = probes[path]()
            status = "200 OK" if well else "503 Service Unavailable"
        else:
            status, text = "404 Not Found", "known: /live, /ready, /metrics"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text.encode() + b"\n"]

    try:
        server = make_server(host, port, application, handler_class=_Quiet)
    except OSError as e:
        structlog.get_logger(__name__).warning(
            "metrics_not_served", host=host, port=port, error=str(e)
        )
        return None
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
