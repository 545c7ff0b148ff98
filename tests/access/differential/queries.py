"""Whole queries: SELECT lists, groups, sets, subqueries, joins, sorted and limited."""

from collections import defaultdict
from dataclasses import dataclass

from tests.access.differential import values as v
from tests.access.differential.grammar import Grammar

KEY = "obs_publisher_did"


@dataclass(frozen=True)
class Query:
    """A query, the rows it must give, and whether their order is told."""

    sql: str
    rows: list
    ordered: bool
    kinds: list


def random_query(rng, table):
    """Draw a query over a table of rows."""
    make = rng.choice([plain, plain, plain, sorted_, grouped, sets, quantified, joined])
    return make(rng, table)


def kept(grammar, table, depth=2):
    """A WHERE and the rows it leaves."""
    if grammar.rng.random() < 0.3:
        return "", table
    condition = grammar.condition(depth)
    return f" WHERE {condition.sql}", [row for row in table if condition.of(row) is True]


def plain(rng, table):
    g = Grammar(rng)
    shown = [g.pick(g.long, g.double, g.text)(rng.randrange(4)) for _ in range(rng.randrange(1, 4))]
    where, rows = kept(g, table)
    distinct = rng.random() < 0.3
    words = ", ".join(f"{e.sql} AS c{i}" for i, e in enumerate(shown))
    answers = [tuple(e.of(row) for e in shown) for row in rows]
    if distinct:
        answers = list(dict.fromkeys(answers))
    sql = f"SELECT {'DISTINCT ' if distinct else ''}{words} FROM ivoa.ObsCore{where}"
    return Query(sql, answers, ordered=False, kinds=[e.kind for e in shown])


def order_key(value, descending):
    """NULL is less than every value; texts sort by their characters' numbers."""
    known = value is not None
    if descending:
        return (not known, Reversed(value) if known else 0)
    return (known, value if known else 0)


class Reversed:
    """A value that sorts the other way round."""

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return other.value < self.value

    def __eq__(self, other):
        return self.value == other.value


def sorted_(rng, table):
    g = Grammar(rng)
    shown, key = g.pick(g.long, g.double, g.text)(1), g.pick(g.long, g.double, g.text)(1)
    where, rows = kept(g, table, 1)
    descending, by_alias = rng.random() < 0.5, rng.random() < 0.3
    if by_alias:
        key = shown
    top, skipped = rng.choice([3, 10, 1000]), rng.choice([0, 0, 2])
    if not any(name in key.sql for name in COLUMNS):
        return plain(rng, table)
    rows = sorted(rows, key=lambda row: row[KEY])
    rows = sorted(rows, key=lambda row: order_key(key.of(row), descending))
    answers = [(shown.of(row), row[KEY]) for row in rows[skipped : skipped + top]]
    word = "c0" if by_alias else key.sql
    sql = (
        f"SELECT TOP {top} {shown.sql} AS c0, {KEY} FROM ivoa.ObsCore{where} "
        f"ORDER BY {word}{' DESC' if descending else ''}, {KEY}"
    )
    sql += f" OFFSET {skipped}" if skipped else ""
    return Query(sql, answers, ordered=True, kinds=[shown.kind, "text"])


COLUMNS = ("s_ra", "s_dec", "t_min", "t_exptime", "s_resolution", "lsst_", "calib_level",
           "target_name", "obs_id")  # fmt: skip


def aggregate(g, name, e):
    """An aggregate and its function of rows."""

    def of(rows):  # noqa: PLR0911 one for each name
        found = [x for row in rows if (x := e.of(row)) is not None]
        if name == "COUNT":
            return len(found)
        if name == "COUNT(DISTINCT)":
            return len(set(found))
        if not found:
            return None
        if name == "MIN":
            return min(found)
        if name == "MAX":
            return max(found)
        if any(isinstance(x, float) and abs(x) > 1e90 for x in found):
            return SKIP
        if name == "AVG":
            return sum(map(float, found)) / len(found)
        total = sum(found)
        return v.long_or_none(total) if e.kind == "long" else float(total)

    sql = f"COUNT(DISTINCT {e.sql})" if name == "COUNT(DISTINCT)" else f"{name}({e.sql})"
    kind = {"AVG": "double"}.get(name, "long" if name.startswith("COUNT") else e.kind)
    return sql, kind, of


SKIP = object()
"""Stands for what depends on the order of the rows."""


def grouped(rng, table):
    g = Grammar(rng)
    key = g.pick(
        lambda: g.column("lsst_band", "text"), lambda: g.column("calib_level", "long"),
        lambda: g.call_mod(3), lambda: g.column("target_name", "text"),
    )()  # fmt: skip
    calls = []
    for _ in range(rng.randrange(1, 4)):
        name = rng.choice(["COUNT", "COUNT(DISTINCT)", "MIN", "MAX", "SUM", "AVG"])
        makes = [g.long, g.double] if name in {"SUM", "AVG"} else [g.long, g.double, g.text]
        calls.append(aggregate(g, name, rng.choice(makes)(1)))
    where, rows = kept(g, table, 1)
    groups = defaultdict(list)
    for row in rows:
        groups[key.of(row)].append(row)
    having, least = "", rng.choice([0, 0, 3])
    if least:
        having = f" HAVING COUNT(*) >= {least}"
    answers = [
        (value, *(of(members) for _, _, of in calls))
        for value, members in groups.items()
        if len(members) >= least
    ]
    words = ", ".join(f"{sql} AS c{i}" for i, (sql, _, _) in enumerate(calls))
    by = rng.choice([key.sql, "k"])
    sql = f"SELECT {key.sql} AS k, {words} FROM ivoa.ObsCore{where} GROUP BY {by}{having}"
    return Query(sql, answers, ordered=False, kinds=[key.kind, *(kind for _, kind, _ in calls)])


def sets(rng, table):
    g = Grammar(rng)
    kind = rng.choice(["number", "text"])
    make = g.number if kind == "number" else g.text
    sides = [(make(1), *kept(g, table, 1)) for _ in range(2)]
    wide = "double" if any(e.kind == "double" for e, _, _ in sides) else sides[0][0].kind
    left, right = (
        [float(x) if wide == "double" and x is not None else x for x in (e.of(row) for row in rows)]
        for e, _, rows in sides
    )
    word = rng.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
    found = {
        "UNION": lambda: list(dict.fromkeys(left + right)),
        "UNION ALL": lambda: left + right,
        "INTERSECT": lambda: [x for x in dict.fromkeys(left) if x in set(right)],
        "EXCEPT": lambda: [x for x in dict.fromkeys(left) if x not in set(right)],
    }[word]()
    parts = [f"SELECT {e.sql} AS c0 FROM ivoa.ObsCore{where}" for e, where, _ in sides]
    sql = f"{parts[0]} {word} {parts[1]}"
    if rng.random() < 0.3:
        sql = f"SELECT c0 FROM ({sql}) AS t"
    return Query(sql, [(x,) for x in found], ordered=False, kinds=[wide])


def quantified(rng, table):
    """IN, ALL, ANY and EXISTS of a subquery, under NOT as well."""
    g = Grammar(rng)
    make = rng.choice([g.number, g.text])
    a, b = make(1), make(0)
    where, members = kept(g, table, 1)
    others = [b.of(row) for row in members]
    inner = f"SELECT {b.sql} AS x FROM ivoa.ObsCore{where}"
    word = rng.choice(["IN", "NOT IN", "ALL", "ANY", "EXISTS", "MAX"])
    operator = rng.choice(["=", "<>", "<", "<=", ">", ">="])

    def holds(row):
        value = a.of(row)
        if word == "EXISTS":
            return bool(others)
        if word == "MAX":
            known = [x for x in others if x is not None]
            return v.compare(operator, value, max(known) if known else None)
        op = "=" if word in {"IN", "NOT IN"} else operator
        tests = [v.compare(op, value, other) for other in others]
        if word == "ALL":
            return False if False in tests else None if None in tests else True
        result = True if True in tests else None if None in tests else False
        return v.not_(result) if word == "NOT IN" else result

    text = {
        "IN": f"{a.sql} IN ({inner})", "NOT IN": f"{a.sql} NOT IN ({inner})",
        "ALL": f"{a.sql} {operator} ALL ({inner})", "ANY": f"{a.sql} {operator} ANY ({inner})",
        "EXISTS": f"EXISTS ({inner})",
        "MAX": f"{a.sql} {operator} (SELECT MAX({b.sql}) AS x FROM ivoa.ObsCore{where})",
    }[word]  # fmt: skip
    negative = rng.random() < 0.5
    condition = f"NOT ({text})" if negative else text
    wanted = [row for row in table if (v.not_(holds(row)) if negative else holds(row)) is True]
    sql = f"SELECT {KEY} FROM ivoa.ObsCore WHERE {condition}"
    return Query(sql, [(row[KEY],) for row in wanted], ordered=False, kinds=["text"])


def joined(rng, table):
    left, right = Grammar(rng, "a"), Grammar(rng, "b")
    shown = [left.number(1), right.text(1)]
    outer = rng.random() < 0.5
    pairs = []
    for row in table:
        partners = [
            other for other in table
            if row["lsst_visit"] is not None and row["lsst_visit"] == other["lsst_visit"]
        ]  # fmt: skip
        pairs += [{"a": row, "b": other} for other in partners]
        if outer and not partners:
            pairs.append({"a": row, "b": dict.fromkeys(row)})
    condition = rng.choice([left, right]).condition(1)
    rows = [pair for pair in pairs if condition.of(pair) is True]
    words = ", ".join(f"{e.sql} AS c{i}" for i, e in enumerate(shown))
    sql = (
        f"SELECT {words} FROM ivoa.ObsCore AS a {'LEFT ' if outer else ''}JOIN ivoa.ObsCore AS b "
        f"ON a.lsst_visit = b.lsst_visit WHERE {condition.sql}"
    )
    answers = [tuple(e.of(row) for e in shown) for row in rows]
    return Query(sql, answers, ordered=False, kinds=[e.kind for e in shown])
