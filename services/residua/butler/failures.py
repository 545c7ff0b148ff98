"""What an exception of Butler means: the event is at fault, or the world is."""

from lsst.daf.butler.registry import ConflictingDefinitionError
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from residua.errors import MalformedEventError, MissingFileError, ResiduaError, TransientError

__all__ = ["ConflictError", "translated"]

# Packages whose errors tell of a network or a server and never of one event.
_REMOTE_PACKAGES = frozenset({"botocore", "psycopg", "requests", "urllib3"})
_LONGEST_TEXT = 500


class ConflictError(ResiduaError):
    """The repository holds something else under the event's identity."""

    responsible = "operator"


def translated(error: Exception) -> ResiduaError | TransientError:
    """Return the error to raise instead of one that Butler raised.

    Errors that could come from a server are transient, so that an outage never turns events into
    dead letters; all others are the event's, so that one bad event never stops its partition.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_TEXT]
    result: ResiduaError | TransientError
    match error:
        case ConflictingDefinitionError():
            result = ConflictError(f"the repository holds something else in this place: {text}")
        case IntegrityError() | DataError():
            result = ConflictError(f"the database refuses the dimension records: {text}")
        case FileNotFoundError():
            result = MissingFileError(f"no file where the event says: {text}")
        case SQLAlchemyError() | OSError():
            result = TransientError(f"the database or the store does not answer: {text}")
        case _ if type(error).__module__.split(".", 1)[0] in _REMOTE_PACKAGES:
            result = TransientError(f"the database or the store does not answer: {text}")
        case _:
            result = MalformedEventError(f"the event makes no dataset: {text}")
    return result
