"""A schema registry as Confluent's: schemas by number, and the frame that names them.

Works with whatever answers its HTTP calls (Confluent, Karapace, Apicurio below
``/apis/ccompat/v7``). Needs the extra ``avro``. Blocking: call it from a thread.
"""

import base64
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from residua.errors import MalformedEventError, TransientError
from residua.extras import require

__all__ = ["SchemaRegistry", "frame", "schema_number"]

_FRAME_BYTES = 5
_MOST_SCHEMAS = 1000
_SECONDS = 10.0
_TYPE = "application/vnd.schemaregistry.v1+json"


def schema_number(value: bytes) -> int | None:
    """Return the schema id of a framed value (a zero byte, then four of the id), or `None`."""
    if len(value) <= _FRAME_BYTES or value[0] != 0:
        return None
    return int.from_bytes(value[1:_FRAME_BYTES])


def frame(number: int, payload: bytes) -> bytes:
    """Put the frame before a payload."""
    return b"\0" + number.to_bytes(4) + payload


class SchemaRegistry:
    """Decodes and encodes Avro by the registry's schemas, each of which is asked for once.

    Parameters
    ----------
    url
        Where it answers, ``http`` or ``https``; user and password may stand in it.
    """

    def __init__(self, url: str) -> None:
        require("avro", "a schema registry (Avro)")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            raise ValueError(f"a schema registry is an http:// or https:// address, not {url!r}")
        self._headers = {"Accept": f"{_TYPE}, application/json", "Content-Type": _TYPE}
        if parts.username is not None:
            secret = f"{parts.username}:{parts.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret).decode()}"
        host = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{host}{parts.path}".rstrip("/")
        self._schemas: dict[int, Any] = {}

    def decode(self, value: bytes, place: str) -> dict[str, Any]:
        """Decode a framed Avro record.

        Parameters
        ----------
        place
            Of the record, for errors.

        Raises
        ------
        residua.errors.MalformedEventError
            Not framed, a schema the registry does not know, or not Avro of that schema.
        residua.errors.TransientError
            The registry does not answer.
        """
        import fastavro

        number = schema_number(value)
        if number is None:
            raise MalformedEventError(f"{place} is not framed with the id of a schema")
        schema = self._schema(number, place)
        stream = io.BytesIO(value[_FRAME_BYTES:])
        try:
            found = fastavro.schemaless_reader(stream, schema, None)
        except Exception as e:
            # The decoder raises whatever foreign bytes make it trip over.
            raise MalformedEventError(
                f"{place} is not Avro of schema {number}: {type(e).__name__}: {str(e)[:200]}"
            ) from e
        if not isinstance(found, dict) or stream.read(1):
            raise MalformedEventError(f"{place} is not one Avro record of schema {number}")
        return found

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """Register a schema, or find it there; returns its id.

        Raises
        ------
        residua.errors.TransientError
            The registry does not answer, or refuses: the message says why.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = self._ask(path, {"schema": json.dumps(schema), "schemaType": "AVRO"})
        if answer is None or "id" not in answer:
            raise TransientError(f"the schema registry did not register {subject}: {answer}")
        return int(answer["id"])

    def _schema(self, number: int, place: str) -> Any:
        if number not in self._schemas:
            import fastavro

            answer = self._ask(f"/schemas/ids/{number}")
            if answer is None:
                raise MalformedEventError(
                    f"{place} names schema {number}, which the registry does not know",
                    schema_id=number,
                )
            if len(self._schemas) >= _MOST_SCHEMAS:
                self._schemas.clear()
            try:
                self._schemas[number] = fastavro.parse_schema(json.loads(answer["schema"]))
            except Exception as e:
                raise MalformedEventError(
                    f"{place} names schema {number}, which is no Avro schema: {str(e)[:200]}"
                ) from e
        return self._schemas[number]

    def _ask(self, path: str, body: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, data=data, headers=self._headers)  # noqa: S310 checked
        try:
            with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 checked
                found = json.load(answer)
        except HTTPError as e:
            with e:
                said = e.read(500).decode(errors="replace")
            if body is None and e.code == 404:
                return None
            raise TransientError(f"the schema registry answered {e.code} to {path}: {said}") from e
        except (URLError, OSError, ValueError) as e:
            raise TransientError(f"the schema registry does not answer: {e}") from e
        return found if isinstance(found, dict) else None
