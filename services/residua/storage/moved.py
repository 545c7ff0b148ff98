"""Where files lie now that lay elsewhere when their addresses were written down."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

__all__ = ["find_moved_roots", "moved"]


def moved(uri: str, roots: Mapping[str, str]) -> str:
    """Return an address as it is now.

    Parameters
    ----------
    uri
        As it was written.
    roots
        From an old root (directory, bucket or prefix) to the one that has its files now; of
        several that fit the longest counts.
    """
    for old in sorted(roots, key=len, reverse=True):
        begin = old.rstrip("/") + "/"
        if uri.startswith(begin):
            return f"{roots[old].rstrip('/')}/{uri[len(begin) :]}"
    return uri


def find_moved_roots(uris: Iterable[str], directory: Path) -> dict[str, str]:
    """Find out from where a directory with files in it was moved.

    Parameters
    ----------
    uris
        Addresses that were written down; those that are no local files or still there say nothing.
    directory
        Where the files are looked for now.

    Returns
    -------
    roots
        For `moved`. Only what was found is in it: below each new root at least one file lies
        where its address says.
    """
    roots: dict[str, str] = {}
    for uri in uris:
        path = _local(moved(uri, roots))
        if path is None or Path(path).exists():
            continue
        parts = path.parts
        # The longest end of the address that exists here: the least is taken for granted.
        for n in range(1, len(parts)):
            if (directory / Path(*parts[n:])).is_file():
                prefix = "/".join(uri.split("/")[: n - len(parts)])
                roots[prefix] = directory.as_uri() if "://" in uri else str(directory)
                break
    return roots


def _local(uri: str) -> PurePosixPath | None:
    if uri.startswith("file://"):
        return PurePosixPath(unquote(urlsplit(uri).path))
    return PurePosixPath(uri) if uri.startswith("/") else None
