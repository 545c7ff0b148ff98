"""Metrics in a registry of their own, made when they are first used and of bounded labels."""

from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from residua.metrics.descriptions import METRICS
from residua.metrics.health import Health, serve_health
from residua.settings import ServiceSettings

__all__ = ["RegisteredMetrics"]

# Instruments and bands come from outside: the first so many are labels, the rest is "other".
_MOST_VALUES = 50


class RegisteredMetrics:
    """One service's metrics, and the port that shows them.

    Parameters
    ----------
    health
        The service's sign of life, shown beside the metrics.
    """

    def __init__(self, health: Health | None = None) -> None:
        self.registry = CollectorRegistry()
        self.health = health or Health()
        self._known: dict[str, Any] = {}
        self._values: dict[str, set[str]] = {}
        self.records_handled = 0

    def serve(self, settings: ServiceSettings, service: str, run: str | None = None) -> None:
        """Answer Prometheus and health probes on the port of the settings, if there is one.

        A port in use is logged, and the service goes on.
        """
        from residua import __version__

        with suppress(Exception):
            self._metric("residua_build").labels(__version__, service).set(1)
            if run is not None:
                self._metric("residua_run").labels(run).set(1)
        if settings.metrics_port:
            serve_health(self.health, self.registry, settings.metrics_host, settings.metrics_port)

    def _metric(self, name: str) -> Any:
        metric = self._known.get(name)
        if metric is None:
            d = METRICS[name]
            if d.kind == "histogram":
                metric = Histogram(
                    name, d.text, d.labels, buckets=d.buckets, registry=self.registry
                )
            else:
                kind = Counter if d.kind == "counter" else Gauge
                metric = kind(name, d.text, d.labels, registry=self.registry)
            self._known[name] = metric
        return metric

    def _bounded(self, label: str, value: str | None) -> str:
        known = self._values.setdefault(label, set())
        text = value or ""
        if text not in known:
            if len(known) >= _MOST_VALUES:
                return "other"
            known.add(text)
        return text
