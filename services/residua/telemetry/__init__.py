"""What services tell of their work beside metrics: log lines, traces, stages."""

from residua.telemetry.logs import configure_logging

__all__ = ["configure_logging"]
