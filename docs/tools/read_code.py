"""What the reference is made of, read from the code: classes, cards, metrics, commands, models."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from pydantic import BaseModel

import residua
import residua_schemas
from residua.metrics import METRICS

__all__ = [
    "card_comments",
    "commands",
    "contract_models",
    "metric_descriptions",
    "modules",
    "subclasses",
]


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """Import and yield every module of a package but entry points and migrations."""
    for found in walk_packages(package.__path__, f"{package.__name__}."):
        if not re.search(r"\.__main__$|\.migrations\b", found.name):
            yield import_module(found.name)


def subclasses(kind: type) -> list[type]:
    """All subclasses that are defined in residua, by name."""
    for _ in modules(residua):
        pass
    found: set[type] = set()
    waiting = [kind]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child.__module__.partition(".")[0] == "residua":
                found.add(child)
            waiting.append(child)
    return sorted(found, key=lambda c: c.__name__)


def card_comments() -> list[tuple[str, str]]:
    """Keyword and comment of each card, as the writing functions state them."""
    found: dict[str, str] = {}
    for name in ("cards", "observation_info"):
        source = inspect.getsource(import_module(f"residua.storage.write.{name}"))
        for node in ast.walk(ast.parse(source)):
            match node:
                # set_card(header, KEY, value, COMMENT), a row (KEY, value, COMMENT) of a table,
                # and header[KEY] = (value, COMMENT).
                case ast.Call(func=ast.Name("set_card"), args=[_, key, _, comment]):
                    pass
                case ast.Tuple(elts=[key, _, comment]):
                    pass
                case ast.Assign(
                    targets=[ast.Subscript(slice=key)], value=ast.Tuple(elts=[_, comment])
                ):
                    pass
                case ast.Assign(targets=[ast.Subscript(slice=key)]):
                    comment = ast.Constant("")
                case _:
                    continue
            keyword, text = _literal(key), _literal(comment)
            if keyword is not None and re.fullmatch(r"[A-Z][A-Z0-9-]{1,7}", keyword):
                found[keyword] = text or "(as its name says)"
    return sorted(found.items())


def _literal(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(str() as text):
            return text
        case ast.JoinedStr(values=[ast.Constant(str() as text), _]):
            return f"{text}01"
        case _:
            return None


def metric_descriptions() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield name, type, labels and text of each metric."""
    shared = {m.name: (m.kind, m.labels, m.text) for m in METRICS.values()}
    own: dict[str, tuple[str, tuple[str, ...], str]] = {}
    for module in modules(residua):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            match node:
                case ast.Call(
                    func=ast.Name("Counter" | "Gauge" | "Histogram" as kind),
                    args=[ast.Constant(str() as name), ast.Constant(str() as text), *rest],
                ):
                    labels = tuple(ast.literal_eval(rest[0])) if rest else ()
                    own[name] = (kind.lower(), labels, text)
    for name, (kind, labels, text) in (own | shared).items():
        yield name, kind, labels, text


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a command and all below it."""
    yield path, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from commands(f"{path} {name}", child)


def contract_models() -> Iterator[type[BaseModel]]:
    """Yield every model an event is made of."""
    for name in residua_schemas.__all__:
        value = getattr(residua_schemas, name)
        if inspect.isclass(value) and issubclass(value, BaseModel):
            yield value
