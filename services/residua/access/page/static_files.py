"""The files the page is made of, as they lie in the package."""

from functools import cache
from pathlib import Path

__all__ = ["found_file", "static_files"]

_FOLDER = Path(__file__).parent / "static"


@cache
def static_files() -> frozenset[str]:
    """Names of all files that are served, with the folder they lie in."""
    served = {".css", ".js", ".svg", ".LICENSE", ".md"}
    return frozenset(
        str(path.relative_to(_FOLDER)) for path in _FOLDER.rglob("*") if path.suffix in served
    )


def found_file(name: str) -> Path | None:
    """Return where a file lies; `None` if there is none of that name."""
    return _FOLDER / name if name in static_files() else None
