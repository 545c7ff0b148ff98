"""The event contracts of Residua, importable with pydantic alone.

Producers and dashboards need nothing else: build an event, ``model_dump_json()`` it, send it
under ``event.key`` with the headers of `cloudevents_headers`.
"""

from residua_schemas.base import SCHEMA_VERSION, Checksum, Contract, Event, SkyPolygon, Tai
from residua_schemas.cloudevents import cloudevents_headers
from residua_schemas.dead_letter import DeadLetter, RecordHeader
from residua_schemas.difference_image import (
    DetectionsReference,
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageOutcome,
    DifferenceImageSkipped,
    ImageReference,
    Responsible,
    SolutionReference,
    TemplateReference,
    outcome_from_json,
)
from residua_schemas.heartbeat import Heartbeat
from residua_schemas.next_visit import NextVisit
from residua_schemas.night_summary import FailureCount, NightSummary
from residua_schemas.quality import KernelSummary, Quality, QualityFlag
from residua_schemas.reading import ImageReading
from residua_schemas.recreation import RecreationAnswer, RecreationRequest
from residua_schemas.template import TemplateCoadd
from residua_schemas.topics import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    HEARTBEATS,
    NEXT_VISITS,
    NIGHT_SUMMARIES,
    RECREATION_ANSWERS,
    RECREATION_REQUESTS,
    TEMPLATE_COADDS,
    TOPICS,
    VISIT_ARRIVALS,
    Topic,
)
from residua_schemas.visit import (
    ArrivalPlace,
    VisitArrival,
    VisitDetector,
    VisitImageMetadata,
    Weather,
)

__all__ = [
    "DEAD_LETTERS",
    "DIFFERENCE_IMAGES",
    "HEARTBEATS",
    "NEXT_VISITS",
    "NIGHT_SUMMARIES",
    "RECREATION_ANSWERS",
    "RECREATION_REQUESTS",
    "SCHEMA_VERSION",
    "TEMPLATE_COADDS",
    "TOPICS",
    "VISIT_ARRIVALS",
    "ArrivalPlace",
    "Checksum",
    "Contract",
    "DeadLetter",
    "DetectionsReference",
    "DifferenceImageCreated",
    "DifferenceImageFailed",
    "DifferenceImageOutcome",
    "DifferenceImageSkipped",
    "Event",
    "FailureCount",
    "Heartbeat",
    "ImageReading",
    "ImageReference",
    "KernelSummary",
    "NextVisit",
    "NightSummary",
    "Quality",
    "QualityFlag",
    "RecordHeader",
    "RecreationAnswer",
    "RecreationRequest",
    "Responsible",
    "SkyPolygon",
    "SolutionReference",
    "Tai",
    "TemplateCoadd",
    "TemplateReference",
    "Topic",
    "VisitArrival",
    "VisitDetector",
    "VisitImageMetadata",
    "Weather",
    "cloudevents_headers",
    "outcome_from_json",
]
