"""JSON schemas for kubeconform, which knows none of its own where there is no internet.

Kubernetes's come with the package ``kubernetes-validate``, in one file of definitions; those of
KEDA and of the Prometheus operator lie in ``tests/deploy/schemas`` (its README says whence).
"""

import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

__all__ = ["write_schemas"]

_ALL = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema"
_REFERENCE = re.compile(r'"(?:/api/_definitions\.json)?#/\$defs/([^"]+)"')


def write_schemas(
    directory: Path, version: str, kinds: Iterable[tuple[str, str]], ours: Path
) -> str:
    """Write what documents of some kinds need; return where, as kubeconform's template.

    Parameters
    ----------
    version
        Of Kubernetes, such as 1.31.
    kinds
        ``apiVersion`` and ``kind`` of each.
    ours
        Directory of further schemas.
    """
    source = _ALL / f"v{version}.0-local-strict"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    for api, kind in set(kinds):
        group, _, number = api.rpartition("/")
        name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number))) + ".json"
        if (ours / name).exists():
            (directory / name).write_text((ours / name).read_text())
            continue
        text = (source / name).read_text()
        schema = json.loads(_REFERENCE.sub(r'"#/$defs/\1"', text))
        schema.pop("$id", None)
        schema["$defs"] = _needed(text, definitions)
        (directory / name).write_text(json.dumps(schema))
    return str(directory / "{{ .ResourceKind }}{{ .KindSuffix }}.json")


def _needed(text: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Definitions that a schema refers to, and those that these do; all would take seconds."""
    found: dict[str, Any] = {}
    waiting = _REFERENCE.findall(text)
    while waiting:
        name = waiting.pop()
        if name not in found:
            one = json.dumps(definitions[name])
            found[name] = json.loads(_REFERENCE.sub(r'"#/$defs/\1"', one))
            waiting += _REFERENCE.findall(one)
    return found
