"""What ADQL's operators and functions mean here, in plain Python; shares no code with the service.

NULL is None; whole numbers have 64 bits; what has no value is None.
"""

import math
import re
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, getcontext

getcontext().prec = 1_500


def long_or_none(value):
    return value if -(2**63) <= value < 2**63 else None


def finite_or_none(value):
    return value if math.isfinite(value) else None


def plus(a, b):
    return long_or_none(a + b) if both_whole(a, b) else finite_or_none(float(a) + float(b))


def minus(a, b):
    return long_or_none(a - b) if both_whole(a, b) else finite_or_none(float(a) - float(b))


def times(a, b):
    return long_or_none(a * b) if both_whole(a, b) else finite_or_none(float(a) * float(b))


def over(a, b):
    if b == 0:
        return None
    if both_whole(a, b):
        quotient = abs(a) // abs(b)
        return long_or_none(quotient if (a < 0) == (b < 0) else -quotient)
    try:
        return finite_or_none(float(a) / float(b))
    except OverflowError:
        return None


def modulo(a, b):
    if b == 0:
        return None
    if both_whole(a, b):
        rest = abs(a) % abs(b)
        return rest if a >= 0 else -rest
    x, y = Decimal(f"{float(a):.15g}"), Decimal(f"{float(b):.15g}")
    return float(x % y) + 0.0 if y else None


def both_whole(a, b):
    return isinstance(a, int) and isinstance(b, int)


def absolute(a):
    return long_or_none(abs(a)) if isinstance(a, int) else abs(a)


def negative(a):
    return long_or_none(-a) if isinstance(a, int) else -a


def quantized(rounding):
    def function(a, digits=0):
        step = Decimal((0, (1,), -max(-400, min(400, digits))))
        value = float(Decimal(f"{float(a):.15g}").quantize(step, rounding))
        return finite_or_none(value + 0.0)

    return function


def guarded(function):
    def call(*arguments):
        try:
            return finite_or_none(float(function(*map(float, arguments))))
        except (ValueError, OverflowError, ZeroDivisionError):
            return None

    return call


NUMERIC = {
    "SQRT": guarded(math.sqrt),
    "LOG": guarded(math.log),
    "LOG10": guarded(math.log10),
    "EXP": guarded(math.exp),
    "SIN": guarded(math.sin),
    "COS": guarded(math.cos),
    "TAN": guarded(math.tan),
    "ASIN": guarded(math.asin),
    "ACOS": guarded(math.acos),
    "ATAN": guarded(math.atan),
    "FLOOR": guarded(lambda a: math.copysign(math.floor(a), a)),
    "CEILING": guarded(lambda a: math.copysign(math.ceil(a), a)),
    "RADIANS": guarded(lambda a: a * 0.017453292519943295),
    "DEGREES": guarded(lambda a: a / 0.017453292519943295),
}
BINARY = {"POWER": guarded(math.pow), "ATAN2": guarded(math.atan2)}
DIGITS = {"ROUND": quantized(ROUND_HALF_UP), "TRUNCATE": quantized(ROUND_DOWN)}


def cast_whole(value, bits):
    if isinstance(value, str):
        value = number_of_text(value)
        if value is None:
            return None
    whole = math.trunc(value)
    return whole if -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1) else None


def number_of_text(text):
    text = text.strip(" \t\n\r\f")
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return finite_or_none(float(text))
    return None


def cast_double(value):
    number = number_of_text(value) if isinstance(value, str) else value
    return None if number is None else float(number)


def cast_text(value):
    if not isinstance(value, float):
        return str(value)
    if value == 0:
        return "0"
    digits = Decimal(repr(value)).normalize()
    power = digits.adjusted()
    if -4 <= power < 15:
        return f"{digits:f}"
    mantissa = digits.scaleb(-power)
    return f"{mantissa:f}e{'-' if power < 0 else '+'}{abs(power):02d}"


def like(text, pattern):
    expression = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def compare(operator, a, b):
    if a is None or b is None:
        return None
    if isinstance(a, str):
        a, b = list(map(ord, a)), list(map(ord, b))
    elif isinstance(a, float) or isinstance(b, float):
        a, b = float(a), float(b)
    return {
        "=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b,
    }[operator]  # fmt: skip


def and_(a, b):
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def or_(a, b):
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


def not_(a):
    return None if a is None else not a


def separation(ra1, dec1, ra2, dec2):
    a1, d1, a2, d2 = map(math.radians, (ra1, dec1, ra2, dec2))
    h = math.sin((d2 - d1) / 2) ** 2 + math.cos(d1) * math.cos(d2) * math.sin((a2 - a1) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(h))))
