"""What differs between an image as it was made and as it came out now, in their own words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import override

from residua.identity import installed_version
from residua_schemas import DifferenceImageCreated

__all__ = ["Difference", "differences", "in_words"]

# Where files lie is no property of an image.
_PLACES = {"uri", "preview_uri", "place", "schema_version", "stored", "detections.uri"}
_MOST = 5


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.

    Parameters
    ----------
    what
        Field of the outcome, such as ``checksum`` or ``quality.pull_rms``, or
        ``software.numpy``.
    then, now
        Its values.
    """

    what: str
    then: object
    now: object

    @override
    def __str__(self) -> str:
        return f"{self.what} {self.then}, now {self.now}"


def differences(
    then: DifferenceImageCreated, now: DifferenceImageCreated
) -> tuple[Difference, ...]:
    """Compare an outcome with that of the image made again; empty when the bytes are equal.

    Software is compared with what is installed: it explains the rest.
    """
    if then.checksum == now.checksum:
        return ()
    old, new = _flat(then.model_dump(mode="json")), _flat(now.model_dump(mode="json"))
    found = [
        Difference(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name not in _PLACES and not _is_name(name)
    ]
    software = [
        Difference(f"software.{name}", version, installed)
        for name, version in sorted(then.software.items())
        if (installed := _installed(name)) != version
    ]
    first = [d for d in found if d.what == "checksum"]
    return (*first, *software, *(d for d in found if d.what != "checksum"))


def in_words(found: Sequence[Difference]) -> str:
    """Say the first few of them in a sentence's part."""
    more = len(found) - _MOST
    words = "; ".join(str(d) for d in found[:_MOST])
    return f"{words}; and {more} more" if more > 0 else words


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError

    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None


def _is_name(field: str) -> bool:
    # Contracts before 1.4 did not tell them.
    return field.endswith((".name", ".reading")) and field.startswith(("visit_image", "templates"))


def _flat(value: Mapping[str, object], before: str = "") -> dict[str, object]:
    return dict(_leaves(value, before))


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _leaves(child, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for n, child in enumerate(value):
            yield from _leaves(child, f"{name}.{n}")
    else:
        yield name, value
