"""Types of expressions, from the inside out."""

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.functions import FUNCTIONS, Function
from residua.access.adql.meaning.comparisons import (
    check_compared,
    one_column,
    scalar_subquery,
)
from residua.access.adql.meaning.geometry_types import geometry_meaning
from residua.access.adql.meaning.in_unit import unit_factor
from residua.access.adql.meaning.kinds import CONDITION, NULL, Meaning, common
from residua.access.adql.meaning.trees import inner_query, name_of, short
from residua.access.adql.write.arithmetic import OPERATORS, arithmetic_meaning

__all__ = ["describe_condition", "describe_value", "meaning_of"]

_WHOLE_TYPES = {"SMALLINT": 2.0**15, "INT": 2.0**31, "BIGINT": 2.0**63}


def meaning_of(node: exp.Expr) -> Meaning:
    """Return what was found out of an expression."""
    meaning: Meaning = node.meta["meaning"]
    return meaning


def describe_condition(node: exp.Expr) -> None:
    """Describe an expression that must be a condition."""
    if _describe(node).kind != "condition":
        raise AdqlError(f"{short(node)} is a value where a condition is needed")


def describe_value(node: exp.Expr) -> Meaning:
    """Describe an expression that must be a value."""
    meaning = _describe(node)
    if meaning.kind == "condition":
        raise AdqlError(f"{short(node)} is a condition, and no value; use CASE WHEN ... END")
    return meaning


def _number(node: exp.Expr, what: str) -> Meaning:
    meaning = describe_value(node)
    if not meaning.is_number:
        raise AdqlError(f"{what} takes numbers; {short(node)} is a {meaning.kind}")
    return meaning


def _text(node: exp.Expr, what: str) -> Meaning:
    meaning = describe_value(node)
    if not meaning.is_text:
        raise AdqlError(
            f"{what} takes texts; {short(node)} is a number: CAST(... AS VARCHAR) makes a text"
        )
    return meaning


def _describe(node: exp.Expr) -> Meaning:
    meaning = _of_kind(node)
    node.meta["meaning"] = meaning
    return meaning


def _of_kind(node: exp.Expr) -> Meaning:  # noqa: PLR0911 one for each kind
    match node:
        case exp.Literal():
            return _literal(node)
        case exp.Null():
            return NULL
        case exp.Column():
            known: Meaning | None = node.meta.get("meaning")
            if known is None:
                raise AdqlError(f"no column {node.name} here")
            return known
        case exp.Paren():
            return _describe(node.this)
        case exp.Neg():
            return _negative(node)
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            operator = OPERATORS[type(node)]
            sides = [_number(side, operator) for side in (node.this, node.expression)]
            return arithmetic_meaning(operator, *sides)
        case exp.DPipe():
            sides = [_text(side, "||") for side in (node.this, node.expression)]
            return Meaning("text", unicode=any(side.unicode for side in sides))
        case exp.Cast():
            return _cast(node)
        case exp.Case():
            return _case(node)
        case exp.Subquery() | exp.Select() | exp.SetOperation():
            return scalar_subquery(node)
        case exp.Anonymous():
            return _call(node)
        case _:
            _check_condition(node)
            return CONDITION


def _literal(node: exp.Literal) -> Meaning:
    if node.is_string:
        return Meaning("text", unicode=not str(node.this).isascii())
    size = abs(float(node.this))
    if str(node.this).isdigit():
        if int(node.this) >= 2**63 and not isinstance(node.parent, exp.Neg):
            raise AdqlError(f"{node.this} does not fit into 64 bits; write it with a decimal point")
        return Meaning("long", least=size or 1.0, most=size)
    return Meaning("double", least=size or 1.0, most=size)


def _negative(node: exp.Neg) -> Meaning:
    a = _number(node.this, "-")
    return replace(a, column=None, kind="long" if a.is_whole else "double")


def _cast(node: exp.Cast) -> Meaning:
    a = describe_value(node.this)
    name = node.to.this.value
    if a.kind not in {"int", "long", "double", "text", "null"}:
        raise AdqlError(f"{short(node.this)} is a {a.kind}: there is no CAST of it")
    if name in _WHOLE_TYPES:
        most = _WHOLE_TYPES[name]
        return Meaning("long" if name == "BIGINT" else "int", a.unit, a.ucd, least=1.0, most=most)
    if name in {"FLOAT", "DOUBLE"}:
        size = (a.least, a.most) if a.is_number else (0.0, float("inf"))
        return Meaning("double", a.unit, a.ucd, least=size[0], most=size[1])
    return Meaning("text", unicode=a.unicode)


def _case(node: exp.Case) -> Meaning:
    values = []
    compared = [describe_value(node.this)] if node.this is not None else []
    for part in node.args["ifs"]:
        if node.this is not None:
            compared.append(describe_value(part.this))
        else:
            describe_condition(part.this)
        values.append(describe_value(part.args["true"]))
    if node.args.get("default") is not None:
        values.append(describe_value(node.args["default"]))
    if compared:
        node.meta["compared"] = common(compared, "CASE")
    return common(values, "CASE").alone()


def _call(node: exp.Anonymous) -> Meaning:
    name = name_of(node) or ""
    spatial = geometry_meaning(name, node, describe_value)
    if spatial is not None:
        return spatial
    if name == "IN_UNIT":
        return _in_unit(node)
    function = FUNCTIONS.get(name)
    if function is None:
        raise AdqlError(
            f"no function {name[:60]}; there are {', '.join(sorted(FUNCTIONS))}, and those of "
            "geometry"
        )
    arguments = _arguments(name, function, node.expressions)
    return function.result(arguments)


def _in_unit(node: exp.Anonymous) -> Meaning:
    if len(node.expressions) != 2:
        raise AdqlError("IN_UNIT takes a number and a unit")
    value, unit = node.expressions
    meaning = _number(value, "IN_UNIT")
    if not (isinstance(unit, exp.Literal) and unit.is_string):
        raise AdqlError("IN_UNIT: the unit must be a text, as 'arcsec'")
    factor = unit_factor(meaning.unit, str(unit.this))
    node.meta["factor"] = factor
    scale = Meaning("double", least=abs(factor), most=abs(factor))
    result = arithmetic_meaning("*", replace(meaning, kind="double", column=None), scale)
    return replace(result, unit=str(unit.this).strip(), ucd=meaning.ucd)


def _arguments(name: str, function: Function, nodes: Sequence[exp.Expr]) -> list[Meaning]:
    least, most = function.least, function.most
    if not least <= len(nodes) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise AdqlError(f"{name} takes {wanted} arguments, not {len(nodes)}")
    meanings = []
    for i, node in enumerate(nodes):
        inner = node
        if isinstance(node, exp.Star):
            if name != "COUNT":
                raise AdqlError(f"{name} does not take *")
            meanings.append(NULL)
            continue
        if isinstance(node, exp.Distinct):
            if not function.aggregate or len(node.expressions) != 1:
                raise AdqlError(f"{name} does not take DISTINCT")
            inner = node.expressions[0]
        what = f"argument {i + 1} of {name}" if len(nodes) > 1 else name
        match function.parameter(i):
            case "double" | "number":
                meanings.append(_number(inner, what))
            case "integer":
                meaning = _number(inner, what)
                if not meaning.is_whole:
                    raise AdqlError(f"{what} takes whole numbers; {short(inner)} is none")
                meanings.append(meaning)
            case "text":
                meanings.append(_text(inner, what))
            case _:
                meanings.append(describe_value(inner))
    return meanings


def _check_condition(node: exp.Expr) -> None:
    match node:
        case exp.And() | exp.Or():
            describe_condition(node.this)
            describe_condition(node.expression)
        case exp.Not():
            describe_condition(node.this)
        case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
            _comparison(node)
        case exp.Is():
            describe_value(node.this)
            if not isinstance(node.expression, exp.Null):
                raise AdqlError("IS takes NULL or NOT NULL")
        case exp.Between():
            sides = [node.this, node.args["low"], node.args["high"]]
            check_compared(node, [describe_value(side) for side in sides], sides)
        case exp.Like() | exp.ILike():
            word = "LIKE" if isinstance(node, exp.Like) else "ILIKE"
            _text(node.this, word)
            _text(node.expression, word)
        case exp.In():
            _in(node)
        case exp.Exists():
            inner_query(node.this)
        case _:
            raise AdqlError(f"{short(node)} cannot stand here")


def _comparison(node: exp.Expr) -> None:
    right = node.args["expression"]
    if isinstance(right, exp.Any | exp.All):
        query = inner_query(right.this)
        only = one_column(query, "ALL and ANY take")
        check_compared(node, [describe_value(node.this), only], [node.this, query])
        return
    sides = [node.this, right]
    check_compared(node, [describe_value(side) for side in sides], sides)


def _in(node: exp.In) -> None:
    first = describe_value(node.this)
    query = node.args.get("query")
    if query is not None:
        check_compared(node, [first, one_column(query, "IN takes")], [node.this, query])
        return
    others = [describe_value(value) for value in node.expressions]
    check_compared(node, [first, *others], [node.this, *node.expressions])
