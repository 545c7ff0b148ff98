"""Logs: one way for all services."""

import logging
import sys
import time
from typing import override

import structlog

from residua.settings import ServiceSettings

__all__ = ["configure_logging"]

# A broker that is away makes its clients write about 145 lines a second.
_QUIET = ("aiokafka", "faust", "mode", "kafka")
_QUIET_SECONDS = 10.0


class _OncePerInterval(logging.Filter):
    """Lets each message of a chatty library through once in ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.INFO or not record.name.startswith(_QUIET):
            return True
        place = (record.pathname, record.lineno)
        now = time.monotonic()
        if now - self._last.get(place, float("-inf")) < _QUIET_SECONDS:
            return False
        self._last[place] = now
        return True


def configure_logging(settings: ServiceSettings, service: str) -> None:
    """Send structlog and the standard library's loggers to stderr, as JSON lines or for a terminal.

    Parameters
    ----------
    service
        Name of the service, in every line.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_OncePerInterval())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)
