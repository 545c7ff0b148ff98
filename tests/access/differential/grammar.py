"""Random queries over a grammar with types: each expression is its ADQL and its Python."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.access.differential import values as v

DOUBLES = ("s_ra", "s_dec", "t_min", "t_exptime", "s_resolution")
LONGS = ("lsst_visit", "lsst_detector", "lsst_tract", "lsst_patch")
INTS = ("calib_level",)
TEXTS = ("lsst_band", "target_name", "lsst_filter", "obs_id")
WORDS = ("r", "g", "R_03", "ünï", "ÜNÏ x", "back\\slash", "100%", "12", " 7 ", "-3.9", "1e3", "abc",
         "it''s", "", "ß", "Z")  # fmt: skip
PATTERNS = ("%", "r%", "_", "ün%", "%\\%", "%s%", "R\\_03", "ünÏ%", "%%x", "1__%", "")


@dataclass(frozen=True)
class E:
    """An expression: its words, its type (long, double, text, condition) and its value of a row."""

    sql: str
    kind: str
    of: Callable


def strict(function):
    def value(row, *parts):
        arguments = [part.of(row) for part in parts]
        return None if any(a is None for a in arguments) else function(*arguments)

    return value


def call(sql, kind, function, *parts):
    compute = strict(function)
    return E(sql, kind, lambda row: compute(row, *parts))


class Grammar:
    """Draws expressions."""

    def __init__(self, rng, alias=""):
        self.rng = rng
        self.alias = f"{alias}." if alias else ""
        self.key = alias

    def pick(self, *choices):
        return choices[self.rng.randrange(len(choices))]

    def column(self, name, kind):
        key = self.key
        return E(f"{self.alias}{name}", kind, lambda row: row[key][name] if key else row[name])

    def call_mod(self, divisor):
        a = self.column("lsst_detector", "long")
        return call(f"MOD({a.sql}, {divisor})", "long", lambda x: v.modulo(x, divisor), a)

    def number(self, depth):
        return self.pick(self.long, self.double, self.double)(depth)

    def long(self, depth):  # noqa: PLR0911 one for each kind
        if depth <= 0:
            if self.rng.random() < 0.6:
                return self.column(self.pick(*LONGS, *INTS), "long")
            value = self.pick(0, 1, 2, 3, 7, 10, 1000, 2**31, 2**62, 2**63 - 1)
            return E(str(value), "long", lambda _: value)
        d = depth - 1
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                return self.arithmetic(self.long(d), self.long(d), "long")
            case 3:
                a, b = self.long(d), self.long(d)
                return call(f"MOD({a.sql}, {b.sql})", "long", v.modulo, a, b)
            case 4:
                a = self.long(d)
                return call(f"ABS({a.sql})", "long", v.absolute, a)
            case 5:
                a = self.pick(self.number, self.text)(d)
                name, bits = self.pick(("SMALLINT", 16), ("INTEGER", 32), ("BIGINT", 64))
                function = lambda x: v.cast_whole(x, bits)  # noqa: E731
                return call(f"CAST({a.sql} AS {name})", "long", function, a)
            case 6:
                return self.choice(self.long, d, "long")
            case _:
                a = self.long(d)
                return call(f"-({a.sql})", "long", v.negative, a)

    def double(self, depth):  # noqa: PLR0911 one for each kind
        if depth <= 0:
            if self.rng.random() < 0.6:
                return self.column(self.pick(*DOUBLES), "double")
            value = self.pick(0.0, 1.0, 2.5, 0.1, 1e-3, 60.25, 1e10, 1e-200, 1e200)
            return E(repr(value), "double", lambda _: value)
        d = depth - 1
        match self.rng.randrange(9):
            case 0 | 1 | 2:
                sides = [self.double(d), self.number(d)]
                self.rng.shuffle(sides)
                return self.arithmetic(*sides, "double")
            case 3 | 4:
                a, name = self.number(d), self.pick(*v.NUMERIC)
                return call(f"{name}({a.sql})", "double", v.NUMERIC[name], a)
            case 5:
                a, b, name = self.number(d), self.number(d), self.pick(*v.BINARY)
                return call(f"{name}({a.sql}, {b.sql})", "double", v.BINARY[name], a, b)
            case 6:
                a, name = self.number(d), self.pick(*v.DIGITS)
                digits = self.pick(-3, -1, 0, 1, 2, 5)
                function = lambda x: v.DIGITS[name](x, digits)  # noqa: E731
                return call(f"{name}({a.sql}, {digits})", "double", function, a)
            case 7:
                a = self.pick(self.number, self.text)(d)
                return call(f"CAST({a.sql} AS DOUBLE PRECISION)", "double", v.cast_double, a)
            case _:
                return self.choice(self.number, d, "double", first=self.double(d))

    def arithmetic(self, a, b, kind):
        operator, function = self.pick(("+", v.plus), ("-", v.minus), ("*", v.times), ("/", v.over))
        return call(f"({a.sql} {operator} {b.sql})", kind, function, a, b)

    def text(self, depth):  # noqa: PLR0911 one for each kind
        if depth <= 0:
            if self.rng.random() < 0.6:
                return self.column(self.pick(*TEXTS), "text")
            word = self.pick(*WORDS)
            return E(f"'{word}'", "text", lambda _: word.replace("''", "'"))
        d = depth - 1
        match self.rng.randrange(6):
            case 0:
                a = self.text(d)
                name, function = self.pick(("LOWER", str.lower), ("UPPER", str.upper))
                return call(f"{name}({a.sql})", "text", function, a)
            case 1:
                a, b = self.text(d), self.text(d)
                return call(f"({a.sql} || {b.sql})", "text", lambda x, y: x + y, a, b)
            case 2:
                a = self.number(d)
                return call(f"CAST({a.sql} AS VARCHAR)", "text", v.cast_text, a)
            case 3:
                a, length = self.text(d), self.pick(1, 2, 4)
                return call(f"CAST({a.sql} AS VARCHAR({length}))", "text", lambda x: x[:length], a)
            case _:
                return self.choice(self.text, d, "text")

    def choice(self, make, depth, kind, first=None):
        """COALESCE, NULLIF or CASE: the common type of what may come out."""
        a, b = first or make(depth), make(depth)
        wide = float if kind == "double" else lambda x: x

        def widened(x):
            return None if x is None else wide(x)

        match self.rng.randrange(3):
            case 0:
                return E(
                    f"COALESCE({a.sql}, {b.sql})", kind,
                    lambda row: widened(x if (x := a.of(row)) is not None else b.of(row)),
                )  # fmt: skip
            case 1:
                return E(
                    f"NULLIF({a.sql}, {b.sql})", kind,
                    lambda row: (
                        None if v.compare("=", a.of(row), b.of(row)) else widened(a.of(row))
                    ),
                )  # fmt: skip
            case _:
                c = self.condition(depth)
                return E(
                    f"CASE WHEN {c.sql} THEN {a.sql} ELSE {b.sql} END", kind,
                    lambda row: widened(a.of(row) if c.of(row) else b.of(row)),
                )  # fmt: skip

    def condition(self, depth):  # noqa: PLR0911 one for each kind
        if depth > 0 and self.rng.random() < 0.5:
            return self.connected(depth - 1)
        make = self.pick(self.number, self.number, self.text)
        a = make(min(depth, 1))
        match self.rng.randrange(7):
            case 0 | 1:
                b, operator = make(0), self.pick("=", "<>", "<", "<=", ">", ">=")
                return E(
                    f"{a.sql} {operator} {b.sql}", "condition",
                    lambda row: v.compare(operator, a.of(row), b.of(row)),
                )  # fmt: skip
            case 2:
                word = self.pick("NULL", "NOT NULL")
                return E(
                    f"{a.sql} IS {word}", "condition",
                    lambda row: (a.of(row) is None) == (word == "NULL"),
                )  # fmt: skip
            case 3:
                b, c = make(0), make(0)
                return E(
                    f"{a.sql} BETWEEN {b.sql} AND {c.sql}", "condition",
                    lambda row: v.and_(
                        v.compare(">=", a.of(row), b.of(row)), v.compare("<=", a.of(row), c.of(row))
                    ),
                )  # fmt: skip
            case 4:
                others = [make(0) for _ in range(self.rng.randrange(1, 4))]
                negative = self.rng.random() < 0.3
                return self.listed(a, others, negative)
            case 5:
                return self.like(depth)
            case _:
                return self.spatial()

    def connected(self, depth):
        a, b = self.condition(depth), self.condition(depth)
        match self.rng.randrange(3):
            case 0:
                return E(f"({a.sql} AND {b.sql})", "condition", lambda r: v.and_(a.of(r), b.of(r)))
            case 1:
                return E(f"({a.sql} OR {b.sql})", "condition", lambda r: v.or_(a.of(r), b.of(r)))
            case _:
                return E(f"NOT ({a.sql})", "condition", lambda r: v.not_(a.of(r)))

    def listed(self, a, others, negative):
        def found(row):
            result = False
            for other in others:
                result = v.or_(result, v.compare("=", a.of(row), other.of(row)))
            return v.not_(result) if negative else result

        word = "NOT IN" if negative else "IN"
        return E(f"{a.sql} {word} ({', '.join(o.sql for o in others)})", "condition", found)

    def like(self, depth):
        a, pattern = self.text(min(depth, 1)), self.pick(*PATTERNS)
        word = self.pick("LIKE", "NOT LIKE", "ILIKE")

        def matches(row):
            text = a.of(row)
            if text is None:
                return None
            if word == "ILIKE":
                return v.like(text.lower(), pattern.lower())
            return v.like(text, pattern) != (word == "NOT LIKE")

        return E(f"{a.sql} {word} '{pattern}'", "condition", matches)

    def spatial(self):
        ra, dec = self.rng.uniform(0, 360), self.rng.uniform(-80, 80)
        radius, wanted = self.rng.uniform(10, 80), self.pick(0, 1)
        x, y = self.column("s_ra", "double"), self.column("s_dec", "double")

        def inside(row):
            if x.of(row) is None or y.of(row) is None:
                return None
            return (v.separation(x.of(row), y.of(row), ra, dec) <= radius) == bool(wanted)

        point = f"POINT('ICRS', {x.sql}, {y.sql})"
        return E(
            f"CONTAINS({point}, CIRCLE('ICRS', {ra!r}, {dec!r}, {radius!r})) = {wanted}",
            "condition", inside,
        )  # fmt: skip
