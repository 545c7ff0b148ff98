"""What the commands share that make images again."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from residua.errors import MissingFileError

if TYPE_CHECKING:
    from residua.recreation import Recreator

__all__ = ["catalog_place", "logs_to_stderr", "moved_roots_of", "open_recreator"]


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


def logs_to_stderr() -> None:
    """Keep what is logged out of a command's answer."""
    import structlog

    # The stream of the moment: whoever calls commands may change it.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


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


def open_recreator(roots: dict[str, str], folder: Path) -> "Recreator":
    """Return what makes images again, with settings from the environment.

    Parameters
    ----------
    roots
        Where files were moved to, beside what the environment says.
    folder
        Where files go.
    """
    from residua.recreation import RecreationSettings, Recreator

    settings = RecreationSettings()
    if roots:
        settings = settings.model_copy(update={"moved_roots": {**roots, **settings.moved_roots}})
    return Recreator(settings, folder)
