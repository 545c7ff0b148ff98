"""Parameters of DALI services: names in any case, repeated, from the query or the form."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from residua.access.dali.errors import UsageError

__all__ = ["Parameters", "documented", "documented_form", "parameters_of"]

_MAX_VALUES = 1_000


@dataclass(frozen=True)
class Parameters:
    """Values by upper-case name, in the order they came.

    Parameters
    ----------
    files
        Files of a form, by upper-case name.
    """

    values: Mapping[str, Sequence[str]]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def all(self, name: str) -> Sequence[str]:
        """Every value of a parameter that is not empty."""
        return [value for value in self.values.get(name, ()) if value.strip()]

    def one(self, name: str) -> str | None:
        """Return the value of a parameter that may be given once."""
        values = self.all(name)
        if len(set(values)) > 1:
            raise UsageError(f"{name} was given {len(values)} times; once is accepted")
        return values[0] if values else None

    def whole_number(self, name: str) -> int | None:
        """Return a number of 0 or more."""
        value = self.one(name)
        if value is None:
            return None
        text = value.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise UsageError(f"{name} {value[:40]!r} is not a whole number")
        return int(text)

    def intervals(self, name: str) -> list[tuple[float, float]]:
        """Return DALI intervals: two numbers, or one for both; -Inf and +Inf leave a side open."""
        result = []
        for value in self.all(name):
            words = value.split()
            try:
                bounds = [float(word) for word in words]
            except ValueError as e:
                raise UsageError(f"{name} {value[:60]!r} is not an interval of numbers") from e
            if len(bounds) not in {1, 2} or any(map(math.isnan, bounds)):
                raise UsageError(f"{name} {value[:60]!r} is not an interval of one or two numbers")
            low, high = bounds[0], bounds[-1]
            if low > high or (len(bounds) == 1 and math.isinf(low)):
                raise UsageError(f"{name} {value[:60]!r} is an empty interval")
            result.append((low, high))
        return result


async def parameters_of(request: Request, *, files: bool = False) -> Parameters:
    """Read the parameters of a request.

    Parameters
    ----------
    files
        Whether the form may have files.

    Raises
    ------
    UsageError
        The form cannot be read, has files, or more than 1,000 values.
    """
    items: list[tuple[str, Any]] = list(request.query_params.multi_items())
    if request.method == "POST" and request.headers.get("content-type"):
        kind = request.headers["content-type"].split(";")[0].strip().lower()
        if kind not in {"application/x-www-form-urlencoded", "multipart/form-data"}:
            raise UsageError(f"a body of type {kind[:60]!r} is not read; send a form")
        try:
            async with request.form(max_files=8, max_fields=_MAX_VALUES) as form:
                items += [
                    (name, await value.read() if files and isinstance(value, UploadFile) else value)
                    for name, value in form.multi_items()
                ]
        except UsageError:
            raise
        except Exception as e:  # the parsers raise several kinds of their own
            raise UsageError(f"the form cannot be read: {str(e)[:100]}") from e
    if len(items) > _MAX_VALUES:
        raise UsageError(f"{len(items)} parameters; at most {_MAX_VALUES} are read")
    values: dict[str, list[str]] = defaultdict(list)
    contents: dict[str, bytes] = {}
    for name, value in items:
        if isinstance(value, UploadFile):
            raise UsageError(f"{name[:40]}: files are not accepted")
        if isinstance(value, bytes):
            contents[name.upper()] = value
        else:
            values[name.upper()].append(str(value))
    return Parameters(values, contents)


def documented(names: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """OpenAPI of parameters that are read by `parameters_of`.

    Parameters
    ----------
    names
        Name and description of each.
    """
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": text,
                "required": False,
                "schema": {"type": "array", "items": {"type": "string"}},
            }
            for name, text in names
        ]
    }


def documented_form(names: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """OpenAPI of the same parameters in a form.

    Parameters
    ----------
    names
        Name and description of each.
    """
    properties = {
        name: {"type": "array", "items": {"type": "string"}, "description": text}
        for name, text in names
    }
    schema = {"type": "object", "properties": properties}
    content = {"application/x-www-form-urlencoded": {"schema": schema}}
    return {"requestBody": {"content": content, "required": False}}
