"""What a function takes, what it gives, and how each database writes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.write.words import Argument

__all__ = ["Function", "Parameter"]

type Parameter = Literal["double", "integer", "number", "text", "any", "same"]
"""What an argument must be.

``double`` and ``integer`` are written as such, ``number`` as it is; all arguments that are
``same`` get their common type.
"""


@dataclass(frozen=True)
class Function:
    """A function clients may call.

    Parameters
    ----------
    parameters
        Of each argument; the last holds for all further ones.
    least
        How many arguments are needed.
    most
        How many are accepted.
    result
        From the meanings of the arguments to that of the result.
    build
        From the database's dialect and the arguments to SQL.
    aggregate
        Whether it makes one value of many rows.
    form
        How the capabilities write it; empty for functions ADQL itself has.
    description
        What it does, for the capabilities.
    """

    parameters: tuple[Parameter, ...]
    least: int
    most: int
    result: Callable[[Sequence[Meaning]], Meaning]
    build: Callable[[str, Sequence[Argument]], exp.Expr]
    aggregate: bool = False
    form: str = ""
    description: str = ""

    def parameter(self, i: int) -> Parameter:
        """Return what argument ``i`` must be."""
        return self.parameters[min(i, len(self.parameters) - 1)]
