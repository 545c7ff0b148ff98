"""When pixels become public, and who may have them before: in Python of a row, in SQL of all.

Rights belong to a dataset. Whatever is made of it (its file, a preview, a cutout, the detections,
their rows) has the rights of its row, on whichever way it is reached.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from residua.access.dali.errors import EmbargoError
from residua.access.rights.tokens import Caller
from residua.access.settings import AccessSettings

__all__ = ["may_see_all", "release_time", "released", "released_sql", "require_released"]

_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)


def release_time(row: Mapping[str, Any], settings: AccessSettings) -> datetime | None:
    """Return the time from which everybody may have the pixels of a row; `None` for always.

    The row's own ``obs_release_date`` counts, else the end of the exposure and the configured
    embargo; that says nothing of rows that are not public otherwise, which stay so. Leap seconds
    within the embargo are not looked at.
    """
    stated = row.get("obs_release_date")
    if stated:
        time = datetime.fromisoformat(str(stated))
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    if not settings.embargo_hours or row.get("t_max") is None or not _public(row):
        return None
    return _MJD_ZERO + timedelta(days=float(row["t_max"]), hours=settings.embargo_hours)


def _public(row: Mapping[str, Any]) -> bool:
    return str(row.get("data_rights") or "public").lower() == "public"


def may_see_all(settings: AccessSettings, caller: Caller) -> bool:
    """Whether a caller's token lifts every embargo."""
    return caller.has(settings.embargo_scope)


def released(row: Mapping[str, Any], settings: AccessSettings) -> bool:
    """Whether everybody may have the pixels of a row now."""
    time = release_time(row, settings)
    if time is not None:
        return datetime.now(UTC) >= time
    return _public(row)


def require_released(
    rows: Iterable[Mapping[str, Any]], settings: AccessSettings, caller: Caller
) -> None:
    """Raise `EmbargoError` unless the caller may have what was made of all these rows now."""
    if may_see_all(settings, caller):
        return
    for row in rows:
        if released(row, settings):
            continue
        time = release_time(row, settings)
        if time is not None:
            raise EmbargoError(
                f"the pixels are public from {time.strftime('%Y-%m-%dT%H:%M:%SZ')}; before that a "
                f"token with the scope {settings.embargo_scope} is needed"
            )
        raise EmbargoError(
            f"the data are {row['data_rights']}; a token with the scope {settings.embargo_scope} "
            "is needed"
        )


def released_sql(settings: AccessSettings, database: Literal["sqlite", "postgresql"]) -> str:
    """Return `released` as a condition on the columns of ``obscore``, true or false now.

    A release date in another form than the catalog writes (UTC, ending in ``Z`` or in nothing)
    counts as not reached.
    """
    if database == "sqlite":
        now, mjd = "strftime('%Y-%m-%dT%H:%M:%f', 'now')", "(julianday('now') - 2400000.5)"
    else:
        utc = "(now() AT TIME ZONE 'UTC')"
        now = f"to_char({utc}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS')"
        mjd = f"(EXTRACT(EPOCH FROM now()) / 86400.0 + {_unix_epoch_mjd()})"
    # Text of one form sorts as time does.
    date = "RTRIM(REPLACE(obs_release_date, ' ', 'T'), 'Z')"
    if database == "postgresql":
        date += ' COLLATE "C"'
    utc_only = f"{date} NOT LIKE '%+%' AND {date} NOT LIKE '%T%-%'"
    public = "LOWER(COALESCE(NULLIF(data_rights, ''), 'public')) = 'public'"
    cases = [f"WHEN obs_release_date <> '' THEN {date} <= {now} AND {utc_only}"]
    if settings.embargo_hours:
        days = settings.embargo_hours / 24.0
        cases.append(f"WHEN {public} AND t_max IS NOT NULL THEN t_max + {days!r} <= {mjd}")
    return f"CASE {' '.join(cases)} ELSE {public} END"


def _unix_epoch_mjd() -> int:
    return (datetime(1970, 1, 1, tzinfo=UTC) - _MJD_ZERO).days
