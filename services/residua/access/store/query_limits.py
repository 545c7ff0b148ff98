"""What a query may take, and what its sender is told when it takes more, or fails."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from residua.access.dali.errors import QueryTimeoutError, RequestError, UsageError
from residua.access.limits.cancellation import Cancellation

__all__ = ["Limits", "is_set", "named_errors", "timeout_message"]

_NO_SUCH_FUNCTION = "42883"


@dataclass(frozen=True)
class Limits:
    """What a query may take.

    Parameters
    ----------
    seconds
        Until the last row is read.
    cancelled
        Set by whoever wants the query to end.
    remedy
        What its sender can do when it took too long.
    """

    seconds: float
    cancelled: Cancellation | None = None
    remedy: str = "narrow it"


@contextmanager
def named_errors(limits: Limits, engine: Engine) -> Iterator[None]:
    """Tell the sender of a query what became of it.

    Raises
    ------
    UsageError
        The database refuses the query.
    QueryTimeoutError
        It took too long, or was cancelled.
    RequestError
        The database does not answer, or is of an older version.
    """
    driver = engine.dialect.loaded_dbapi
    try:
        yield
    except (DBAPIError, driver.Error) as e:
        cause = e.orig if isinstance(e, DBAPIError) else e
        text = str(cause).strip().split("\n", 1)[0]
        if "interrupted" in text or "canceling statement" in text or "statement timeout" in text:
            raise QueryTimeoutError(timeout_message(limits)) from e
        state = str(getattr(cause, "sqlstate", None) or "")
        if "residua_" in text and state == _NO_SUCH_FUNCTION:
            raise RequestError(
                f"the catalog's database is of an older version ({text[:100]}): run "
                "python -m residua.obscore.migrate URL"
            ) from e
        if getattr(e, "connection_invalidated", False) or _is_ours(driver, cause, state):
            raise RequestError(f"the database does not answer: {text[:200]}") from e
        raise UsageError(f"the query cannot be run: {text[:300]}") from e
    except SQLAlchemyError as e:
        raise RequestError(f"the database does not answer: {type(e).__name__}") from e
    except OverflowError as e:
        raise UsageError(f"the query cannot be run: {e}") from e


def _is_ours(driver: Any, cause: object, state: str) -> bool:
    # SQLSTATE classes 08 connection, 53 resources, 57 operator, 58 system; without one, the
    # connection itself broke.
    if state:
        return state[:2] in {"08", "53", "57", "58"}
    return isinstance(cause, driver.OperationalError) and not isinstance(cause, sqlite3.Error)


def timeout_message(limits: Limits) -> str:
    """Say why a query was ended."""
    if is_set(limits.cancelled):
        return "the query was aborted"
    return f"the query took longer than {limits.seconds:g} s; {limits.remedy}"


def is_set(cancelled: Cancellation | None) -> bool:
    """Whether somebody wants a query to end."""
    return cancelled is not None and cancelled.is_set()
