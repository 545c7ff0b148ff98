"""What producers put around an event's JSON: taken off where that is easy, else named."""

import base64
import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

__all__ = ["name_of_bytes", "read_value", "structured_data"]

_BOM = b"\xef\xbb\xbf"
_FRAME_BYTES = 5
_BEGINNINGS = (
    (b"\x1f\x8b", "gzip: let Kafka compress it, with compression.type"),
    (b"SIMPLE  =", "a FITS file: images travel by reference, never inside an event"),
    (b"Obj\x01", "an Avro file: send UTF-8 JSON"),
    (b"\xff\xfe", "UTF-16 text: send UTF-8"),
    (b"\xfe\xff", "UTF-16 text: send UTF-8"),
)


def read_value[M](value: bytes, read: Callable[[bytes], M]) -> M:
    """Read an event from a record's value: its JSON, or that JSON in an envelope.

    Envelopes are a byte order mark, and CloudEvents in structured mode (a JSON object with
    ``specversion`` and the event under ``data`` or ``data_base64``).

    Parameters
    ----------
    read
        From the event's own JSON to the event.

    Raises
    ------
    pydantic.ValidationError
        Neither is the event.
    """
    try:
        return read(value)
    except ValidationError:
        inside = _taken_out(value)
        if inside is None:
            raise
        return read(inside)


def name_of_bytes(value: bytes) -> str | None:
    """Say what bytes are that are no JSON, and what to send instead; `None` when unknown."""
    if value[:1] == b"\0" and len(value) > _FRAME_BYTES:
        schema = int.from_bytes(value[1:_FRAME_BYTES])
        inside = "JSON" if value[_FRAME_BYTES : _FRAME_BYTES + 1] in {b"{", b"["} else "Avro"
        return (
            f"framed by a schema registry's serializer (Confluent's wire format: a zero byte, "
            f"schema id {schema}, then probably {inside}): send the JSON alone, with a serializer "
            "of strings or bytes"
        )
    for beginning, name in _BEGINNINGS:
        if value.startswith(beginning):
            return name
    try:
        value.decode()
    except UnicodeDecodeError as e:
        return f"no UTF-8 (byte {e.start} is 0x{value[e.start]:02x}): send UTF-8 JSON"
    return None


def _taken_out(value: bytes) -> bytes | None:
    text = value.removeprefix(_BOM)
    bare = text if value.startswith(_BOM) else None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return bare
    if not _is_envelope(body):
        return bare
    try:
        return json.dumps(structured_data(body)).encode()
    except ValueError:
        return None


def structured_data(body: Any) -> Any:
    """Return the event in a CloudEvent of structured mode; what is none is returned as it is.

    Raises
    ------
    ValueError
        Its data cannot be read.
    """
    if not _is_envelope(body):
        return body
    if isinstance(encoded := body.get("data_base64"), str):
        return json.loads(base64.b64decode(encoded, validate=True))
    data = body.get("data")
    # JSON that was put into the envelope as text.
    return json.loads(data) if isinstance(data, str) else data


def _is_envelope(body: Any) -> bool:
    return isinstance(body, dict) and isinstance(body.get("specversion"), str)
