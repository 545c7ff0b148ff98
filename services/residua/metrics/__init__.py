"""What the services count for Prometheus."""

from residua.metrics.counting import Metrics
from residua.metrics.descriptions import METRICS, MetricDescription

__all__ = ["METRICS", "MetricDescription", "Metrics"]
