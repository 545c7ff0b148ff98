"""When an exposure was taken, from whatever cards say so (FITS Standard 4.0, section 9).

Times go from the scale of ``TIMESYS`` to TAI. A time that is not understood is said, never
passed over; one that cannot be (LOCAL, a thirteenth month) is a reason to refuse the file.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from astropy.io.fits import Header
from astropy.time import Time

from residua.storage.conventions.exposure_times import in_seconds, read_exposure
from residua.storage.conventions.values import contradictions, first_number, number, text

__all__ = ["Times", "naive_tai", "read_times"]

_DATES = ("DATE-BEG", "DATE-OBS", "DATE_OBS", "SHUTOPEN", "UTC-OBS", "UTSHUT", "UTCSTART")
_MJDS = ("MJD-BEG", "MJD-OBS", "MJD_OBS", "OBSMJD", "MJD-STR", "MJD", "MJDOBS", "EXPSTART")
_JDS = ("JD-OBS", "OBSJD", "JD", "JD_START", "JDSTART", "JD-BEG", "JD_UTC", "JD-START")
_CLOCKS = ("UTC-OBS", "UT", "TIME-OBS", "TIME_OBS", "UTC", "UTSTART", "UTIME", "UT-TIME", "TIME")
_OTHER_TIMES = ("HJD", "BJD", "JD-HELIO", "BJD_TDB", "HJD-OBS", "MJD-HELIO")

# FITS Standard 4.0, table 30; TDT and ET are old names of TT, IAT of TAI.
_SCALES = {
    "UTC": "utc",
    "UT": "utc",
    "GMT": "utc",
    "Z": "utc",
    "UT1": "utc",
    "TAI": "tai",
    "IAT": "tai",
    "GPS": "tai",
    "TT": "tt",
    "TDT": "tt",
    "ET": "tt",
    "TDB": "tdb",
    "TCB": "tcb",
    "TCG": "tcg",
}
_GPS_BEHIND_TAI = timedelta(seconds=19)
_DATE = r"(?P<date>\d{4}-\d\d-\d\d)"
_CLOCK = r"(?P<clock>\d\d?:\d\d(:\d\d(\.\d*)?)?)"
_OFFSET = r"(?P<offset>Z|[+-]\d\d(:?\d\d)?)?"
_FULL = re.compile(rf"{_DATE}[T ]\s*{_CLOCK}\s*{_OFFSET}")
_MOST_APART = 7200.0
"""Seconds that two start cards of one exposure may differ by."""
_EARLIEST, _LATEST = 1850, 2199


@dataclass(frozen=True)
class Times:
    """What the cards say about time.

    Parameters
    ----------
    begin, end
        Naive datetimes, TAI.
    exposure_time
        Seconds.
    source, exposure_source
        The cards.
    notes
        What was assumed or not understood.
    problem
        Why a visit image with these cards must be refused; `None` if nothing is wrong.
    """

    begin: datetime | None = None
    end: datetime | None = None
    exposure_time: float | None = None
    source: str = ""
    exposure_source: str = ""
    notes: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class _Scale:
    name: str
    gps: bool = False

    def tai(self, time: Time) -> datetime | None:
        found = naive_tai(time)
        return found + _GPS_BEHIND_TAI if self.gps and found is not None else found


class _ImpossibleTimeError(ValueError):
    pass


def read_times(header: Header, exposure_time_unit: str = "s") -> Times:
    """Read start, end and length of an exposure.

    Parameters
    ----------
    header
        Cards of the file.
    exposure_time_unit
        Unit of the exposure time where its card's comment names none.
    """
    notes: list[str] = []
    problems: list[str] = []
    scale = _scale(header, notes, problems)
    found = read_exposure(header, exposure_time_unit, notes)
    exposure, exposure_source = found if found is not None else (None, "")
    begin, source = (None, "") if scale is None else _begin(header, scale, notes, problems)
    end = middle = None
    if scale is not None:
        end, _ = _moment(header, ("DATE-END",), ("MJD-END",), scale, notes, [])
        middle, _ = _moment(header, ("DATE-AVG",), ("MJD-AVG", "MJD-MID"), scale, notes, [])
    if exposure is not None and begin is not None and end is not None:
        exposure = in_seconds(exposure, (end - begin).total_seconds(), exposure_source, notes)
    if begin is None and middle is not None and exposure is not None:
        begin, source = middle - timedelta(seconds=exposure / 2.0), "DATE-AVG"
    if begin is None and not problems and not any("a day without" in n for n in notes):
        notes.append(_nothing_known(header))
    if begin is not None and end is not None and end < begin:
        notes.append(f"the end of the exposure lies before its start ({source}); not used")
        end = None
    # A good card beside an impossible one is enough.
    problem = problems[0] if problems and begin is None else None
    notes.extend(problems if problem is None else ())
    return Times(begin, end, exposure, source, exposure_source, tuple(notes), problem)


def naive_tai(time: Any) -> datetime | None:
    """Return an astropy time as a naive datetime, TAI, whole milliseconds."""
    if time is None:
        return None
    # Whole milliseconds: more is noise of the conversion.
    value: datetime = time.tai.to_datetime()
    whole = (value + timedelta(microseconds=500)).replace(tzinfo=None)
    return whole.replace(microsecond=whole.microsecond // 1000 * 1000)


def _scale(header: Header, notes: list[str], problems: list[str]) -> _Scale | None:
    stated = text(header, "TIMESYS")
    if stated is None:
        return _Scale("utc")
    word = re.split(r"[\s(\[]", stated.upper(), maxsplit=1)[0]
    if word in _SCALES:
        if word == "UT1":
            notes.append("TIMESYS is UT1, taken as UTC (less than 0.9 s apart)")
        return _Scale(_SCALES[word], gps=word == "GPS")
    problems.append(
        f"TIMESYS is {stated!r}, which no one elsewhere can tell in TAI: give times in UTC and "
        "correct the card"
    )
    return None


def _begin(
    header: Header, scale: _Scale, notes: list[str], problems: list[str]
) -> tuple[datetime | None, str]:
    notes.extend(contradictions(header, (*_DATES, *_MJDS, *_JDS)))
    begin, source = _moment(header, _DATES, _MJDS, scale, notes, problems)
    if begin is not None:
        _compare(header, begin, source, scale, notes)
        return begin, source
    found = first_number(header, _JDS)
    if found is not None and _is_whole(found, notes):
        found = None
    if found is not None and 2396758.0 < found[0] < 2524594.0:
        return scale.tai(Time(found[0], format="jd", scale=scale.name)), found[1]
    if found is not None:
        notes.append(f"{found[1]} is {found[0]:g}, which is no Julian date of our time: not used")
    seconds = number(header, "TAI")
    if seconds is not None and 1e9 < seconds < 1e10:
        # SDSS: seconds since the zero of MJD, in TAI whatever the rest of the file says.
        return naive_tai(Time(seconds / 86400.0, format="mjd", scale="tai")), "TAI"
    return None, ""


def _moment(
    header: Header,
    dates: tuple[str, ...],
    mjds: tuple[str, ...],
    scale: _Scale,
    notes: list[str],
    problems: list[str],
) -> tuple[datetime | None, str]:
    # A date without a time of day is worth less than an MJD.
    for key in dates:
        value = text(header, key)
        match = _FULL.fullmatch(value) if value else None
        if match is None:
            continue
        try:
            found = _calendar(match["date"], match["clock"], match["offset"], scale)
        except _ImpossibleTimeError as e:
            problems.append(f"{key} is {value!r}, which is no time ({e}): correct the card")
            continue
        return found, key
    mjd = first_number(header, mjds)
    if mjd is not None and mjd[0] > 0.0 and not _is_whole(mjd, notes):
        if 2400000.5 < mjd[0] < 2524594.0:
            notes.append(f"{mjd[1]} is {mjd[0]}: taken as the Julian date it is")
            mjd = mjd[0] - 2400000.5, mjd[1]
        if not -3243.0 < mjd[0] < 124593.0:
            problems.append(f"{mjd[1]} is {mjd[0]}, which is no MJD of our time: correct the card")
        else:
            return scale.tai(Time(mjd[0], format="mjd", scale=scale.name)), mjd[1]
    return _date_and_clock(header, dates, scale, notes, problems)


def _is_whole(found: tuple[float, str], notes: list[str]) -> bool:
    # Written without a fraction: the day of the exposure, and not its start.
    whole = found[0] % 1.0 == 0.0 and found[0] < 2524594.0
    if whole:
        notes.append(f"{found[1]} is {found[0]:.0f}: a day without a time of day")
    return whole


def _compare(header: Header, begin: datetime, source: str, scale: _Scale, notes: list[str]) -> None:
    # Start, middle and end of an exposure may all be called its MJD; another night may not.
    mjd = first_number(header, _MJDS)
    if mjd is None or source == mjd[1] or not 0.0 < mjd[0] < 124593.0 or mjd[0] % 1.0 == 0.0:
        return
    other = scale.tai(Time(mjd[0], format="mjd", scale=scale.name))
    if other is not None and abs((other - begin).total_seconds()) > _MOST_APART:
        notes.append(
            f"{source} and {mjd[1]} = {mjd[0]} are {(other - begin).total_seconds() / 3600.0:+.2f} "
            f"hours apart: {source} is taken"
        )


def _nothing_known(header: Header) -> str:
    passed = [key for key in _OTHER_TIMES if key in header]
    if passed:
        return (
            f"no card says when the exposure began: {', '.join(passed)} is no time at the telescope"
        )
    return "no card says when the exposure began"


def _date_and_clock(
    header: Header,
    dates: tuple[str, ...],
    scale: _Scale,
    notes: list[str],
    problems: list[str],
) -> tuple[datetime | None, str]:
    for key in dates:
        value = text(header, key)
        if value is None and isinstance(header.get(key), int | float):
            notes.append(f"{key} is the number {header[key]}, which is not understood as a time")
        if not value or _FULL.fullmatch(value):
            continue
        day = _day(value)
        if day is None:
            if key not in _CLOCKS:
                notes.append(f"{key} is {value!r}, which is not understood as a time")
            continue
        clock_key = next((k for k in _CLOCKS if _is_clock(text(header, k))), None)
        if key in {"DATE-END", "DATE-AVG"} or clock_key is None:
            notes.append(f"{key} is {value!r}: a day without a time of day")
            continue
        clock = text(header, clock_key)
        assert clock is not None
        try:
            return _calendar(day, clock, None, scale), f"{key} {clock_key}"
        except _ImpossibleTimeError as e:
            problems.append(
                f"{key} {value!r} with {clock_key} {clock!r} is no time ({e}): correct the cards"
            )
    return None, ""


def _is_clock(value: str | None) -> bool:
    return value is not None and re.fullmatch(_CLOCK, value) is not None


def _day(value: str) -> str | None:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return value
    if match := re.fullmatch(r"(\d{4})/(\d\d)/(\d\d)", value):
        return "-".join(match.groups())
    # Before 1999: DD/MM/YY, always of the twentieth century (FITS Standard, 4.4.2.1) but for
    # writers that never changed.
    if match := re.fullmatch(r"(\d\d)/(\d\d)/(\d\d)", value):
        day, month, year = match.groups()
        century = "19" if int(year) >= 50 else "20"
        return f"{century}{year}-{month}-{day}"
    return None


def _calendar(date: str, clock: str, offset: str | None, scale: _Scale) -> datetime | None:
    year = int(date[:4])
    if not _EARLIEST <= year <= _LATEST:
        raise _ImpossibleTimeError(f"the year {year}")
    extra = timedelta()
    if clock.startswith("24:00"):
        # The end of the day, as ISO 8601 has it.
        clock, extra = "00" + clock[2:], timedelta(days=1)
    if clock.count(":") == 1:
        clock += ":00"
    clock = clock if clock[1] != ":" else f"0{clock}"
    utc = scale
    if offset and offset != "Z":
        sign = -1.0 if offset[0] == "-" else 1.0
        digits = offset[1:].replace(":", "")
        extra -= sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
        utc = _Scale("utc")
    elif offset == "Z":
        utc = _Scale("utc")
    try:
        time = Time(f"{date}T{clock.rstrip('.')}", format="isot", scale=utc.name)
        datetime.fromisoformat(date)
    except ValueError as e:
        raise _ImpossibleTimeError(" ".join(str(e).split())[:80]) from e
    found = utc.tai(time)
    return None if found is None else found + extra
