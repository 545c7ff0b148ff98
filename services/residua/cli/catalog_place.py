"""Where a catalog is that a command is told of: a URL, or the directory of a demo."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from residua.errors import MissingFileError

__all__ = ["catalog_place", "moved_roots_of"]


def catalog_place(catalog: str | None) -> tuple[str | None, dict[str, str]]:
    """Return the URL of a catalog, and where its files lie if they were moved with it.

    Parameters
    ----------
    catalog
        SQLAlchemy URL, directory of a demo or `residua up`, or an SQLite file.

    Raises
    ------
    residua.errors.MissingFileError
        There is no catalog in that directory.
    """
    if catalog is None or "://" in catalog:
        return catalog, {}
    path = Path(catalog)
    path = (path / "catalog.sqlite" if path.is_dir() else path).resolve()
    if not path.is_file():
        raise MissingFileError(f"no catalog at {path}; give a directory of a demo, or a URL")
    return f"sqlite:///{path}", moved_roots_of(path)


def moved_roots_of(catalog: Path) -> dict[str, str]:
    """Where the files of a catalog lie that was moved or copied with them."""
    from residua.storage.moved import find_moved_roots

    statement = "SELECT uri, preview_uri, progenitors FROM obscore LIMIT 500"
    found: dict[str, None] = {}
    with closing(sqlite3.connect(f"file:{quote(str(catalog))}?mode=ro", uri=True)) as connection:
        for uri, preview, progenitors in connection.execute(statement):
            places = [uri, preview, *(p["uri"] for p in json.loads(progenitors))]
            found |= dict.fromkeys(place for place in places if place)
    return find_moved_roots(found, catalog.parent)
