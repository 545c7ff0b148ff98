"""Types of all expressions of a query, checked before any database sees it."""

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.functions import FUNCTIONS, Function
from residua.access.adql.meaning.geometry_types import geometry_meaning
from residua.access.adql.meaning.kinds import CONDITION, NULL, NUMBERS, Meaning, common
from residua.access.adql.meaning.trees import inner_query, name_of, short, top_of
from residua.access.adql.meaning.units import unit_factor
from residua.access.adql.write.arithmetic import Operator, arithmetic_meaning

__all__ = ["describe_query", "meaning_of"]

_OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/",
}  # fmt: skip
_WHOLE_TYPES = {"SMALLINT": 2.0**15, "INT": 2.0**31, "BIGINT": 2.0**63}


def meaning_of(node: exp.Expr) -> Meaning:
    """Return what was found out of an expression."""
    meaning: Meaning = node.meta["meaning"]
    return meaning


def describe_query(query: exp.Expr) -> None:
    """Find the type of every expression of a query whose columns are known.

    The queries within have been described. Sets ``meta["meaning"]`` of expressions and
    ``meta["outputs"]`` of the query, a list of names and meanings.

    Raises
    ------
    AdqlError
        Types do not fit.
    """
    if isinstance(query, exp.SetOperation):
        _describe_set(query)
    elif isinstance(query, exp.Select):
        _describe_select(query)


def _describe_set(query: exp.SetOperation) -> None:
    word = type(query).__name__.upper()
    if query.args.get("distinct") is False and not isinstance(query, exp.Union):
        raise AdqlError(f"{word} ALL is not offered; write {word}")
    left, right = (_outputs(side) for side in (query.this, query.expression))
    if len(left) != len(right):
        raise AdqlError(f"{word} of {len(left)} columns with {len(right)}")
    query.meta["outputs"] = [
        (name, common((a, b), f"{word}, column {name}"))
        for (name, a), (_, b) in zip(left, right, strict=True)
    ]
    order = query.args.get("order")
    names = [name for name, _ in query.meta["outputs"]]
    for item in order.expressions if order else ():
        key = item.this
        if isinstance(key, exp.Literal) and not key.is_string:
            _check_position(key, len(names))
        elif not (isinstance(key, exp.Column) and key.name in names):
            raise AdqlError(f"ORDER BY after {word} takes names and numbers of its columns")


def _describe_select(query: exp.Select) -> None:
    where = query.args.get("where")
    if where is not None:
        _condition(where.this)
    for join in query.args.get("joins") or ():
        if join.args.get("on") is not None:
            _condition(join.args["on"])
    outputs = []
    for projection in query.selects:
        meaning = _value(projection.unalias())
        projection.meta["meaning"] = meaning
        outputs.append((projection.alias_or_name, meaning))
    query.meta["outputs"] = outputs
    group = query.args.get("group")
    for key in group.expressions if group else ():
        _value(key)
    having = query.args.get("having")
    if having is not None:
        _condition(having.this)
    order = query.args.get("order")
    for item in order.expressions if order else ():
        key = item.this
        if isinstance(key, exp.Literal) and not key.is_string:
            _check_position(key, len(outputs))
        elif key.meta.get("meaning") is None and not _is_output(key, query):
            _value(key)


def _is_output(key: exp.Expr, query: exp.Select) -> bool:
    if not isinstance(key, exp.Column) or key.table:
        return False
    return any(p.alias_or_name == key.name for p in query.selects)


def _check_position(key: exp.Literal, count: int) -> None:
    if not (key.this.isdigit() and 1 <= int(key.this) <= count):
        raise AdqlError(f"ORDER BY {key.this}: there are {count} columns")


def _outputs(query: exp.Expr) -> list[tuple[str, Meaning]]:
    outputs: list[tuple[str, Meaning]] = inner_query(query).meta["outputs"]
    return outputs


def _condition(node: exp.Expr) -> None:
    if _describe(node).kind != "condition":
        raise AdqlError(f"{short(node)} is a value where a condition is needed")


def _value(node: exp.Expr) -> Meaning:
    meaning = _describe(node)
    if meaning.kind == "condition":
        raise AdqlError(f"{short(node)} is a condition, and no value; use CASE WHEN ... END")
    return meaning


def _number(node: exp.Expr, what: str) -> Meaning:
    meaning = _value(node)
    if not meaning.is_number:
        raise AdqlError(f"{what} takes numbers; {short(node)} is a {meaning.kind}")
    return meaning


def _text(node: exp.Expr, what: str) -> Meaning:
    meaning = _value(node)
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
            operator = _OPERATORS[type(node)]
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
            return _scalar_subquery(node)
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
    a = _value(node.this)
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
    compared = [_value(node.this)] if node.this is not None else []
    for part in node.args["ifs"]:
        if node.this is not None:
            compared.append(_value(part.this))
        else:
            _condition(part.this)
        values.append(_value(part.args["true"]))
    if node.args.get("default") is not None:
        values.append(_value(node.args["default"]))
    if compared:
        node.meta["compared"] = common(compared, "CASE")
    return common(values, "CASE").alone()


def _scalar_subquery(node: exp.Expr) -> Meaning:
    query = inner_query(node)
    outputs = _outputs(query)
    if len(outputs) != 1:
        raise AdqlError(f"a subquery that stands for a value has {len(outputs)} columns, not one")
    if not _has_one_row(query):
        raise AdqlError(
            "a subquery that stands for a value may have several rows; use an aggregate as MAX, "
            "or SELECT TOP 1"
        )
    return outputs[0][1].alone()


def _has_one_row(query: exp.Expr) -> bool:
    if top_of(query) in {0, 1}:
        return True
    return (
        isinstance(query, exp.Select)
        and query.args.get("group") is None
        and bool(query.meta.get("aggregated"))
    )


def _call(node: exp.Anonymous) -> Meaning:
    name = name_of(node) or ""
    spatial = geometry_meaning(name, node, _value)
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
                meanings.append(_value(inner))
    return meanings


def _check_condition(node: exp.Expr) -> None:
    match node:
        case exp.And() | exp.Or():
            _condition(node.this)
            _condition(node.expression)
        case exp.Not():
            _condition(node.this)
        case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
            _comparison(node)
        case exp.Is():
            _value(node.this)
            if not isinstance(node.expression, exp.Null):
                raise AdqlError("IS takes NULL or NOT NULL")
        case exp.Between():
            sides = [node.this, node.args["low"], node.args["high"]]
            _compare(node, [_value(side) for side in sides], sides)
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
        outputs = _outputs(query)
        if len(outputs) != 1:
            raise AdqlError(f"ALL and ANY take a subquery of one column, not {len(outputs)}")
        _compare(node, [_value(node.this), outputs[0][1]], [node.this, query])
        return
    sides = [node.this, right]
    _compare(node, [_value(side) for side in sides], sides)


def _in(node: exp.In) -> None:
    first = _value(node.this)
    query = node.args.get("query")
    if query is not None:
        outputs = _outputs(query)
        if len(outputs) != 1:
            raise AdqlError(f"IN takes a subquery of one column, not {len(outputs)}")
        _compare(node, [first, outputs[0][1]], [node.this, query])
        return
    others = [_value(value) for value in node.expressions]
    _compare(node, [first, *others], [node.this, *node.expressions])


def _compare(node: exp.Expr, meanings: Sequence[Meaning], sides: Sequence[exp.Expr]) -> None:
    texts = [s for m, s in zip(meanings, sides, strict=True) if m.kind == "text"]
    numbers = [s for m, s in zip(meanings, sides, strict=True) if m.kind in NUMBERS]
    if texts and numbers:
        raise AdqlError(
            f"{short(texts[0])} is a text and {short(numbers[0])} a number: they cannot be "
            "compared; write both alike, or use CAST"
        )
    node.meta["compared"] = common(meanings, short(node))
    if node.meta["compared"].kind in {"point", "circle", "polygon"}:
        raise AdqlError(f"{short(node)}: geometries are compared with CONTAINS and INTERSECTS")
