"""CloudEvents 1.0 headers in Kafka's binary content mode."""

from datetime import datetime

from residua_schemas.base import Event

__all__ = ["CONTENT_TYPE", "cloudevents_headers"]

CONTENT_TYPE = b"application/json"


def cloudevents_headers(
    event: Event, *, event_id: str, source: str, time: datetime | None = None
) -> list[tuple[str, bytes]]:
    """Headers of the Kafka record that carries ``event`` as JSON.

    Parameters
    ----------
    event
        The body.
    event_id
        Unique within ``source``; the same for a repeat of the same event.
    source
        URI reference of the producer.
    time
        When it happened, with an offset from UTC.
    """
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_type", event.ce_type.encode()),
        ("ce_source", source.encode()),
        ("content-type", CONTENT_TYPE),
    ]
    if time is not None:
        headers.append(("ce_time", time.isoformat().encode()))
    return headers
