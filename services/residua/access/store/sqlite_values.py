"""Numbers and texts in SQLite, as PostgreSQL has them.

Each function has a twin ``residua_...`` in PostgreSQL, in `residua.obscore.postgres_functions`.
NULL gives NULL; so does what has no value.
"""

import math
import random
import re
import sqlite3
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal

__all__ = ["VALUE_FUNCTIONS", "register_aggregates", "text_of_double"]

type Value = str | float | int | None

_LEAST, _MOST = -(2**63), 2**63 - 1
_NUMBER = re.compile(r"[ \t\n\r\f]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\r\f]*")
_WHOLE = re.compile(r"[ \t\n\r\f]*[+-]?[0-9]+[ \t\n\r\f]*")
_EXACT = Context(prec=1_400, Emax=9_999, Emin=-9_999)
_MOST_DIGITS = 400
# Beyond, exp() is too large for a double; below, it is 0.
_EXP_MOST, _EXP_LEAST = 709.782712893384, -745.1332191019411


def _long(value: float) -> Value:
    """Whole number that did not become a double for its size."""
    return value if isinstance(value, int) else None


def _finite(value: float) -> Value:
    return value if math.isfinite(value) else None


def _within(value: int, most: int) -> Value:
    return value if -most - 1 <= value <= most else None


def _whole(value: float) -> Value:
    whole = math.trunc(value)
    return whole if _LEAST <= whole <= _MOST else None


def _number(text: str) -> Value:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if math.isinf(value):
        return None
    if value == 0.0 and any(c in "123456789" for c in re.split("[eE]", text)[0]):
        return None
    return value


def _integer(text: str) -> Value:
    if _WHOLE.fullmatch(text):
        digits = text.strip(" \t\n\r\f")
        value = int(digits) if len(digits) < 40 else _MOST + 1
        return value if _LEAST <= value <= _MOST else None
    number = _number(text)
    return _whole(float(number)) if number is not None else None


def text_of_double(value: float) -> str:
    """Return the shortest text that stands for a double, as PostgreSQL writes it."""
    text = repr(float(value))
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits)) - 1
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    if power < -4 or power >= 15:
        shown = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{sign}{shown}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    if len(digits) <= power + 1:
        return f"{sign}{digits}{'0' * (power + 1 - len(digits))}"
    return f"{sign}{digits[: power + 1]}.{digits[power + 1 :]}"


def _rounded(rounding: str) -> Callable[[float, int], Value]:
    def function(value: float, digits: int) -> Value:
        # PostgreSQL rounds the decimal number of 15 digits.
        digits = max(-_MOST_DIGITS, min(_MOST_DIGITS, digits))
        exact = Decimal(f"{value:.15g}")
        result = exact.quantize(Decimal((0, (1,), -digits)), rounding, _EXACT)
        # A decimal number has no negative zero.
        return _finite(float(result) + 0.0)

    return function


def _mod(value: float, divisor: float) -> Value:
    a, b = Decimal(f"{value:.15g}"), Decimal(f"{divisor:.15g}")
    return float(_EXACT.remainder(a, b)) + 0.0 if b else None


def _exp(value: float) -> Value:
    if value > _EXP_MOST:
        return None
    return 0.0 if value < _EXP_LEAST else math.exp(value)


def _power(base: float, exponent: float) -> Value:
    try:
        return _finite(math.pow(base, exponent))
    except (ValueError, OverflowError):
        return None


def _abs(value: int) -> Value:
    return abs(value) if value > _LEAST else None


def _lower(text: str) -> Value:
    return text.lower()


def _upper(text: str) -> Value:
    return text.upper()


def _words(text: str) -> str:
    return "".join(c if c.isalnum() else " " for c in text.lower())


def _has_word(haystack: str, needle: str) -> Value:
    found, wanted = (f" {' '.join(_words(t).split())} " for t in (haystack, needle))
    return int(wanted in found)


def _hashlist_has(hashlist: str, item: str) -> Value:
    return int(item.lower() in hashlist.lower().split("#"))


def _null_or(function: Callable[..., Value]) -> Callable[..., Value]:
    def strict(*arguments: object) -> Value:
        return None if any(a is None for a in arguments) else function(*arguments)

    return strict


class _Sum:
    """Exact sum of whole numbers; NULL beyond 64 bits."""

    def __init__(self) -> None:
        self._total: int | None = None

    def step(self, value: int | None) -> None:
        if value is not None:
            self._total = value + (self._total or 0)

    def finalize(self) -> int | None:
        total = self._total
        return total if total is not None and _LEAST <= total <= _MOST else None


class _StringAgg:
    """Sorted texts with a delimiter between them."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._delimiter = ""

    def step(self, text: str | None, delimiter: str | None) -> None:
        if text is not None:
            self._texts.append(text)
            self._delimiter = delimiter or ""

    def finalize(self) -> str | None:
        return self._delimiter.join(sorted(self._texts)) if self._texts else None


def register_aggregates(connection: sqlite3.Connection) -> None:
    """Make the aggregates and the random numbers known to a connection."""
    connection.create_aggregate("adql_sum", 1, _Sum)  # type: ignore[arg-type]
    connection.create_aggregate("adql_string_agg", 2, _StringAgg)  # type: ignore[arg-type]
    connection.create_function("adql_random", 0, random.random)


VALUE_FUNCTIONS: tuple[tuple[str, int, Callable[..., Value]], ...] = tuple(
    (name, arguments, _null_or(function))
    for name, arguments, function in (
        ("adql_long", 1, _long),
        ("adql_finite", 1, _finite),
        ("adql_within", 2, _within),
        ("adql_whole", 1, _whole),
        ("adql_number", 1, _number),
        ("adql_integer", 1, _integer),
        ("adql_text", 1, text_of_double),
        ("adql_round", 2, _rounded(ROUND_HALF_UP)),
        ("adql_truncate", 2, _rounded(ROUND_DOWN)),
        ("adql_mod", 2, _mod),
        ("adql_exp", 1, _exp),
        # SQLAlchemy replaces FLOOR by one that gives whole numbers; SQLite divides by LN(10).
        ("adql_floor", 1, lambda value: float(math.floor(value))),
        ("adql_log10", 1, lambda value: math.log10(value) if value > 0.0 else None),
        ("adql_power", 2, _power),
        ("adql_abs", 1, _abs),
        ("adql_lower", 1, _lower),
        ("adql_upper", 1, _upper),
        ("adql_hasword", 2, _has_word),
        ("adql_hashlist_has", 2, _hashlist_has),
    )
)
"""Name, number of arguments and function."""
