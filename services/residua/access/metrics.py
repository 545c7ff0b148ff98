"""What the access service counts for Prometheus."""

from prometheus_client import CollectorRegistry, Histogram, start_http_server

__all__ = ["RequestMetrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SERVICES = frozenset({"sia", "tap", "datalink", "cutout", "images", "previews"})


class RequestMetrics:
    """Requests by service and status, with the time to the first byte."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "residua_access_request_seconds",
            "From a request to the start of its answer, seconds.",
            ["service", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def serve(self, port: int | None) -> None:
        """Answer Prometheus on a port, if one is given."""
        if port is not None:
            start_http_server(port, registry=self.registry)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request; unknown paths are one service, so that nobody can invent labels."""
        name = path.lstrip("/").split("/", 1)[0]
        service = name if name in _SERVICES else "other"
        self._seconds.labels(service, str(status)).observe(seconds)
