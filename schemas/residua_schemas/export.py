"""Writes and checks the frozen exports: JSON Schema per event, and one AsyncAPI document.

Layout of an export directory::

    json/v1.0/visit-arrival.schema.json ...   frozen; a published version never changes
    asyncapi.yaml                             AsyncAPI 3 of the newest version
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from residua_schemas.base import SCHEMA_VERSION, Event
from residua_schemas.examples import examples
from residua_schemas.topics import TOPICS

__all__ = ["FrozenSchemaError", "asyncapi_document", "check", "export", "json_schemas"]

_BASE = "https://residua.org/schemas"


class FrozenSchemaError(Exception):
    """A published version would change, or an export is missing or stale."""


def json_schemas() -> dict[str, dict[str, JsonValue]]:
    """JSON Schema (2020-12) of every event, by file stem such as ``visit-arrival``."""
    models = {model for topic in TOPICS for model in topic.models}
    return {_stem(model): _schema(model) for model in sorted(models, key=_stem)}


def asyncapi_document() -> dict[str, JsonValue]:
    """AsyncAPI 3.0 document of all topics, events and headers."""
    channels: dict[str, JsonValue] = {}
    operations: dict[str, JsonValue] = {}
    messages: dict[str, JsonValue] = {}
    for topic in TOPICS:
        names = [model.__name__ for model in topic.models]
        channels[topic.name] = {
            "address": topic.name,
            "description": f"Keyed by {topic.key}.",
            "messages": {n: {"$ref": f"#/components/messages/{n}"} for n in names},
            "bindings": {
                "kafka": {
                    "topicConfiguration": {
                        "cleanup.policy": ["compact" if topic.compacted else "delete"],
                        "retention.ms": topic.retention_ms,
                    }
                }
            },
        }
        operations[f"receive-{topic.name}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{topic.name}"},
        }
        for model in topic.models:
            messages[model.__name__] = {
                "name": model.__name__,
                "title": _first_line(model),
                "contentType": "application/json",
                "headers": {"$ref": "#/components/schemas/CloudEventsHeaders"},
                "payload": {"$ref": f"json/v{SCHEMA_VERSION}/{_stem(model)}.schema.json"},
                "examples": [
                    {
                        "name": _stem(model),
                        "payload": examples()[model].model_dump(mode="json", exclude_none=True),
                    }
                ],
                "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
            }
    header_names = ["ce_specversion", "ce_id", "ce_type", "ce_source", "content-type"]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Residua events",
            "version": SCHEMA_VERSION,
            "description": "Difference imaging as a service: visit arrivals in, outcomes out.",
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": {
                "CloudEventsHeaders": {
                    "type": "object",
                    "description": "CloudEvents 1.0, Kafka binary content mode.",
                    "required": list[JsonValue](header_names),
                    "properties": {
                        n: {"type": "string"}
                        for n in [*header_names, "ce_time", "ce_traceparent", "ce_tracestate"]
                    },
                }
            },
        },
    }


def export(directory: Path) -> list[Path]:
    """Write the exports of this version; idempotent.

    Raises
    ------
    FrozenSchemaError
        A file of this version is there with other content: a published contract changed
        without a new version.
    """
    written = []
    for path, text in _frozen_files(directory).items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise FrozenSchemaError(
                f"{path} is published and would change: raise SCHEMA_VERSION (now "
                f"{SCHEMA_VERSION}) and export again; published versions stay as they are"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    asyncapi = directory / "asyncapi.yaml"
    asyncapi.write_text(_asyncapi_yaml(), encoding="utf-8")
    return [*written, asyncapi]


def check(directory: Path) -> None:
    """Compare the exports with the contracts in this installation.

    Raises
    ------
    FrozenSchemaError
        Names each file that is missing or differs.
    """
    wanted = {**_frozen_files(directory), directory / "asyncapi.yaml": _asyncapi_yaml()}
    problems = [
        f"{path} is missing" if not path.exists() else f"{path} differs from the contracts"
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if problems:
        raise FrozenSchemaError("; ".join(problems))


def _frozen_files(directory: Path) -> dict[Path, str]:
    folder = directory / "json" / f"v{SCHEMA_VERSION}"
    return {
        folder / f"{stem}.schema.json": json.dumps(schema, indent=2, sort_keys=True) + "\n"
        for stem, schema in json_schemas().items()
    }


def _schema(model: type[Event]) -> dict[str, JsonValue]:
    schema = model.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{_BASE}/v{SCHEMA_VERSION}/{_stem(model)}.schema.json",
        **schema,
        "examples": [examples()[model].model_dump(mode="json", exclude_none=True)],
    }


def _stem(model: type[Event]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", model.__name__).lower()


def _first_line(model: type[Event]) -> str:
    return (model.__doc__ or model.__name__).strip().splitlines()[0]


def _asyncapi_yaml() -> str:
    return "\n".join(_yaml_lines(asyncapi_document())) + "\n"


def _yaml_lines(value: JsonValue, indent: str = "") -> Iterator[str]:
    # Twenty lines instead of a YAML library: the contracts need pydantic alone. Scalars and
    # empty containers are written as JSON, which is YAML.
    if isinstance(value, dict) and value:
        for key, item in value.items():
            name = key if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", key) else json.dumps(key)
            if isinstance(item, dict | list) and item:
                yield f"{indent}{name}:"
                yield from _yaml_lines(item, indent + "  ")
            else:
                yield f"{indent}{name}: {json.dumps(item)}"
    elif isinstance(value, list) and value:
        for item in value:
            if isinstance(item, dict | list) and item:
                first, *rest = _yaml_lines(item, indent + "  ")
                yield f"{indent}- {first.lstrip()}"
                yield from rest
            else:
                yield f"{indent}- {json.dumps(item)}"
    else:
        yield f"{indent}{json.dumps(value)}"
