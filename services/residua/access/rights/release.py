"""When pixels become public, and who may have them before."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from residua.access.dali.errors import EmbargoError
from residua.access.rights.tokens import Caller
from residua.access.settings import AccessSettings

__all__ = ["release_time", "require_released"]

_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)


def release_time(row: Mapping[str, Any], settings: AccessSettings) -> datetime | None:
    """Return the time from which everybody may have the pixels of a row; `None` for always.

    The row's own ``obs_release_date`` counts, else the end of the exposure and the configured
    embargo. Leap seconds within the embargo are not looked at.
    """
    stated = row.get("obs_release_date")
    if stated:
        time = datetime.fromisoformat(str(stated))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    if not settings.embargo_hours or row.get("t_max") is None:
        return None
    return _MJD_ZERO + timedelta(days=float(row["t_max"]), hours=settings.embargo_hours)


def require_released(row: Mapping[str, Any], settings: AccessSettings, caller: Caller) -> None:
    """Raise `EmbargoError` unless the caller may have the pixels now."""
    if caller.has(settings.embargo_scope):
        return
    time = release_time(row, settings)
    if time is not None and datetime.now(UTC) < time:
        raise EmbargoError(
            f"the pixels are public from {time.strftime('%Y-%m-%dT%H:%M:%SZ')}; before that a "
            f"token with the scope {settings.embargo_scope} is needed"
        )
    if str(row.get("data_rights") or "public").lower() != "public" and time is None:
        raise EmbargoError(
            f"the data are {row['data_rights']}; a token with the scope {settings.embargo_scope} "
            "is needed"
        )
