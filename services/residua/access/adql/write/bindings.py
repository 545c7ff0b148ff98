"""Names for the parameters of a statement, and how their values are found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from residua.access.adql.meaning.constants import Values
from residua.access.adql.write.words import cast_to, is_postgres

__all__ = ["ROW_LIMIT", "Binding", "name_parameters", "row_limit"]

type Value = float | str

ROW_LIMIT = "row_limit"
"""Name of the parameter with the largest number of rows."""


@dataclass(frozen=True)
class Binding:
    """Values of a statement's parameters.

    Parameters
    ----------
    fixed
        Those every query of the shape has.
    open
        Those made of a query's literals.
    slots
        Literals of which values are made: all others belong to the shape.
    """

    fixed: Mapping[str, Value]
    open: Mapping[str, Callable[[Values], Value]]
    slots: frozenset[int]

    def values(self, literals: Values) -> dict[str, Value]:
        """Return the values for a query's literals."""
        return {**self.fixed, **{name: again(literals) for name, again in self.open.items()}}


def row_limit(dialect: str) -> exp.Expr:
    """Parameter with the largest number of rows."""
    node = exp.Placeholder(this=ROW_LIMIT)
    return cast_to(node, "long") if is_postgres(dialect) else node


def name_parameters(tree: exp.Expr) -> Binding:
    """Name every parameter of a statement; equal values get one name.

    PostgreSQL takes expressions for equal, as GROUP BY asks, when their parameters are.
    """
    known: dict[tuple[type, Value], str] = {}
    fixed: dict[str, Value] = {}
    open_: dict[str, Callable[[Values], Value]] = {}
    slots: set[int] = set()
    for node in tree.find_all(exp.Placeholder):
        if node.name == ROW_LIMIT:
            continue
        if "fixed" in node.meta:
            value: Value = node.meta["fixed"]
            key = (type(value), repr(value))
            name = known.setdefault(key, f"v{len(known)}")
            fixed[name] = value
        else:
            name = f"s{len(open_)}"
            open_[name] = node.meta["again"]
            slots |= node.meta["slots"]
        node.set("this", name)
    return Binding(fixed, open_, frozenset(slots))
