"""The one table of topics."""

from dataclasses import dataclass

from residua_schemas.base import Event
from residua_schemas.dead_letter import DeadLetter
from residua_schemas.difference_image import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
)
from residua_schemas.heartbeat import Heartbeat
from residua_schemas.next_visit import NextVisit
from residua_schemas.night_summary import NightSummary
from residua_schemas.recreation import RecreationAnswer, RecreationRequest
from residua_schemas.template import TemplateCoadd
from residua_schemas.visit import VisitArrival

__all__ = [
    "DEAD_LETTERS",
    "DIFFERENCE_IMAGES",
    "HEARTBEATS",
    "NEXT_VISITS",
    "NIGHT_SUMMARIES",
    "RECREATION_ANSWERS",
    "RECREATION_REQUESTS",
    "TEMPLATE_COADDS",
    "TOPICS",
    "VISIT_ARRIVALS",
    "Topic",
]

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """A Kafka topic.

    Parameters
    ----------
    name
        Name without prefix.
    key
        What its records are keyed by.
    models
        The events it carries.
    retention_ms
        How long records are kept, ms; -1 for ever.
    compacted
        Whether only the newest record of each key need be kept.
    append_time
        Whether brokers stamp its records when they append them: their order decides.
    """

    name: str
    key: str
    models: tuple[type[Event], ...]
    retention_ms: int
    compacted: bool = False
    append_time: bool = False

    @property
    def config(self) -> dict[str, str]:
        """Configuration entries for creating the topic."""
        entries = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
        }
        if self.append_time:
            entries["message.timestamp.type"] = "LogAppendTime"
        return entries


VISIT_ARRIVALS = Topic(
    "visit-arrivals", "instrument/visit/detector", (VisitArrival,), 30 * _DAY_MS, append_time=True
)
TEMPLATE_COADDS = Topic(
    "template-coadds", "template_set/band/skymap/tract/patch", (TemplateCoadd,), -1, compacted=True
)
DIFFERENCE_IMAGES = Topic(
    "difference-images",
    "instrument/visit/detector",
    (DifferenceImageCreated, DifferenceImageSkipped, DifferenceImageFailed),
    -1,
)
DEAD_LETTERS = Topic("dead-letters", "topic/partition/offset", (DeadLetter,), 90 * _DAY_MS)
NEXT_VISITS = Topic("next-visits", "instrument/visit", (NextVisit,), _DAY_MS)
HEARTBEATS = Topic("heartbeats", "service/instance", (Heartbeat,), _DAY_MS)
NIGHT_SUMMARIES = Topic("night-summaries", "instrument/day_obs/run", (NightSummary,), -1)
RECREATION_REQUESTS = Topic(
    "recreation-requests", "instrument/visit/detector", (RecreationRequest,), _DAY_MS
)
RECREATION_ANSWERS = Topic("recreation-answers", "request_id", (RecreationAnswer,), _DAY_MS)

TOPICS = (
    VISIT_ARRIVALS,
    TEMPLATE_COADDS,
    DIFFERENCE_IMAGES,
    DEAD_LETTERS,
    NEXT_VISITS,
    HEARTBEATS,
    NIGHT_SUMMARIES,
    RECREATION_REQUESTS,
    RECREATION_ANSWERS,
)
