"""Types of geometry functions."""

from collections.abc import Callable

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.meaning.trees import short

__all__ = ["CONSTRUCTORS", "GEOMETRY", "geometry_meaning"]

_INT = Meaning("int", least=1.0, most=1.0)
_POSITION = Meaning("double", unit="deg", least=1e-60, most=720.0)

GEOMETRY: dict[str, Meaning] = {
    "POINT": Meaning("point"),
    "CENTROID": Meaning("point"),
    "IVO_HEALPIX_CENTER": Meaning("point"),
    "CIRCLE": Meaning("circle"),
    "POLYGON": Meaning("polygon"),
    "BOX": Meaning("polygon"),
    "CONTAINS": _INT,
    "INTERSECTS": _INT,
    "DISTANCE": Meaning("double", unit="deg", least=1e-60, most=180.0),
    "AREA": Meaning("double", unit="deg**2", least=1e-60, most=41254.0),
    "COORD1": _POSITION,
    "COORD2": _POSITION,
    "COORDSYS": Meaning("text"),
    "IVO_HEALPIX_INDEX": Meaning("long", least=1.0, most=2.0**62),
    "REGION": Meaning("polygon"),
    "RESIDUA_RANGE": Meaning("polygon"),
}
"""Meanings of the results, by name."""

CONSTRUCTORS = frozenset(
    name for name, meaning in GEOMETRY.items() if meaning.kind in {"point", "circle", "polygon"}
) - {"REGION", "RESIDUA_RANGE"}  # fmt: skip
"""Functions whose value is a region."""


def geometry_meaning(
    name: str, node: exp.Anonymous, value: Callable[[exp.Expr], Meaning]
) -> Meaning | None:
    """Return the meaning of a geometry function; `None` for other functions.

    Parameters
    ----------
    value
        Describes an argument.
    """
    meaning = GEOMETRY.get(name)
    if meaning is None:
        return None
    for argument in node.expressions:
        if isinstance(argument, exp.Star | exp.Distinct):
            raise AdqlError(f"{name} does not take {short(argument)}")
        value(argument)
    return meaning
