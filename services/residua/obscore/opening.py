"""Opening a catalog that is there: SQLite makes an empty one of any address that is wrong."""

from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from residua.errors import MissingFileError
from residua.extras import require_for

__all__ = ["in_one_line", "open_existing", "shown"]


def open_existing(url: str) -> Engine:
    """Open a catalog's database as it is.

    Parameters
    ----------
    url
        SQLAlchemy URL.

    Raises
    ------
    residua.errors.MissingFileError
        There is no SQLite file at that address, or it is no URL.
    residua.extras.MissingExtraError
        The extra for its database is not installed.
    """
    require_for(url)
    try:
        parsed = make_url(url)
    except ArgumentError as e:
        raise MissingFileError(
            f"{url} is no catalog: give a database URL, as sqlite:////DIRECTORY/catalog.sqlite"
        ) from e
    path = parsed.database or ""
    is_file = parsed.get_backend_name() == "sqlite" and not path.startswith("file:")
    if is_file and not Path(path).is_file():
        raise MissingFileError(
            f"no catalog at {path or 'an address without a file'}: is the path right?"
        )
    return create_engine(parsed)


def shown(url: str) -> str:
    """Return the address of a database as it may be shown: without a password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def in_one_line(error: Exception) -> str:
    """Say what is wrong with a database, or with its address, in one line for a person."""
    if isinstance(error, ArgumentError):
        return (
            "no URL of a PostgreSQL or SQLite database; give one, as "
            "postgresql+psycopg://USER@HOST/DATABASE or sqlite:////DIRECTORY/catalog.sqlite"
        )
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split())
