"""What commands say of the files they were given: what was understood, and what was assumed."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from residua.cli.console import STDERR

if TYPE_CHECKING:
    from residua.storage.describe import HowToRead, OpenedFile
    from residua.storage.read.file_contents import FileContents

__all__ = ["say_contents", "say_headers"]

_MOST_FILES = 6
_MOST_BYTES = 512 * 1024**2
_SHOWN = ("instrument", "band", "time", "unit", "flux scale", "WCS")


def say_headers(files: "Sequence[tuple[str, HowToRead]]") -> "dict[str, OpenedFile]":
    """Print, on stderr, a line for each file with what its headers say, and what they leave open.

    A file that must be refused is told about as well: so its refusal has a context.

    Returns
    -------
    opened
        The files that could be opened, as far as they are small enough to be kept.
    """
    from residua.errors import ResiduaError
    from residua.storage.describe import open_file
    from residua.storage.understanding import understand

    opened: dict[str, OpenedFile] = {}
    for uri, how in files[:_MOST_FILES]:
        file = None
        with suppress(ResiduaError):
            opened[uri] = file = open_file(uri, **how)
        found = understand(uri, pixels=False, opened=file, **how)
        if sum(o.size_bytes for o in opened.values()) > _MOST_BYTES:
            opened.pop(uri, None)
        known = "; ".join(row.line for row in found.rows if row.what in _SHOWN)
        if known:
            _say(uri, known, found.notes)
    if len(files) > _MOST_FILES:
        STDERR.print(f"... and {len(files) - _MOST_FILES} files more", markup=False)
    return opened


def say_contents(name: str, contents: "FileContents") -> None:
    """Print, on stderr, what the pixels of a file were found to be."""
    from residua.storage.understanding import pixel_rows

    rows = "; ".join(row.line for row in pixel_rows(contents.report, contents.unit))
    _say(name, rows, contents.report.notes)


def _say(uri: str, line: str, notes: Sequence[str]) -> None:
    name = uri.rsplit("/", 1)[-1]
    STDERR.print(f"{name}: {line}", markup=False, soft_wrap=True)
    for note in notes:
        STDERR.print(f"  note: {note}", markup=False, soft_wrap=True)
