"""TAI to UTC as astropy has it, without astropy: two thirds of a row's time went there.

Since 1972 the two differ by a whole number of seconds, which stands in ERFA's table of leap
seconds. What lies before, and the 27 days that a leap second ends, astropy does.
"""

from bisect import bisect_right
from datetime import datetime, timedelta
from functools import cache, lru_cache

import erfa  # type: ignore[import-untyped, unused-ignore]

__all__ = ["utc_isot", "utc_mjd"]

_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001 naive, as all our TAI and UTC
_DAY = timedelta(days=1)
_SECONDS_A_DAY = 86400
# The images of a visit, and the two rows of each, have one begin and one end.
_REMEMBERED = 256


@lru_cache(maxsize=_REMEMBERED)
def utc_mjd(tai: datetime | None) -> float | None:
    """Return the modified Julian date, UTC, of a naive datetime in TAI."""
    if tai is None:
        return None
    utc = _utc(tai)
    if utc is None:
        from astropy.time import Time

        return float(Time(tai, scale="tai").utc.mjd)
    since = utc - _MJD_ZERO
    return since.days + (since.seconds + since.microseconds / 1e6) / _SECONDS_A_DAY


@lru_cache(maxsize=_REMEMBERED)
def utc_isot(tai: datetime) -> str:
    """Return UTC to the millisecond, ISO 8601 and ``Z``, of a naive datetime in TAI."""
    utc = _utc(tai)
    if utc is None:
        from astropy.time import Time

        return f"{Time(tai, scale='tai', precision=3).utc.isot}Z"
    rounded = utc + timedelta(microseconds=500)
    return f"{rounded.isoformat(timespec='milliseconds')}Z"


def _utc(tai: datetime) -> datetime | None:
    """Return UTC, or `None` where the difference is no plain number."""
    begins, offsets = _leap_seconds()
    n = bisect_right(begins, tai) - 1
    if n < 0:
        return None
    # The day that a leap second ends has 86401 s, which a datetime cannot say.
    if n + 1 < len(begins) and begins[n + 1] - tai <= 2 * _DAY:
        return None
    return tai - timedelta(seconds=offsets[n])


@cache
def _leap_seconds() -> tuple[list[datetime], list[int]]:
    """When, in TAI, each difference begins to hold, since 1972."""
    rows = [r for r in erfa.leap_seconds.get() if int(r["year"]) >= 1972]
    offsets = [round(float(r["tai_utc"])) for r in rows]
    begins = [
        datetime(int(r["year"]), int(r["month"]), 1) + timedelta(seconds=offset)  # noqa: DTZ001
        for r, offset in zip(rows, offsets, strict=True)
    ]
    return begins, offsets
