"""What the access service counts for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from residua import __version__
from residua.access.settings import AccessSettings
from residua.metrics.health import Health, serve_health

__all__ = ["RequestMetrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SERVICES = frozenset({"sia", "tap", "datalink", "cutout", "images", "previews", "view", "tonight"})


class RequestMetrics:
    """Requests by service and status, with the time to the first byte."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.health = Health()
        build = Gauge(
            "residua_build",
            "1, with the version and the service.",
            ["version", "service"],
            registry=self.registry,
        )
        build.labels(__version__, "access").set(1)
        self._seconds = Histogram(
            "residua_access_request_seconds",
            "From a request to the start of its answer, seconds.",
            ["service", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

        self._recreations = Counter(
            "residua_access_recreations",
            "Images that were not kept and were made again, by what came of it: made, or an error.",
            ["result"],
            registry=self.registry,
        )

    def recreated(self, result: str) -> None:
        """Count an image that was made again, or an error of a known name."""
        self._recreations.labels(result).inc()

    def serve(self, settings: AccessSettings) -> None:
        """Answer Prometheus and health probes on the port of the settings, if there is one."""
        if settings.metrics_port:
            serve_health(self.health, self.registry, settings.metrics_host, settings.metrics_port)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request; unknown paths are one service, so that nobody can invent labels."""
        name = path.lstrip("/").split("/", 1)[0]
        service = name if name in _SERVICES else "other"
        self._seconds.labels(service, str(status)).observe(seconds)
