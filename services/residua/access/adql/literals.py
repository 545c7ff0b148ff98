"""Numbers and texts of a query, told apart from its shape.

Two queries that differ in nothing else have one shape, and one translation serves both: the
literals that may differ become parameters of the statement.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from residua.access.adql.dialect import AdqlDialect, one_line
from residua.access.adql.errors import AdqlError

__all__ = ["Literal", "Query", "Shape", "label_literals", "read_literals"]

type Value = float | str
type Shape = tuple[str, ...]

_MAX_LENGTH = 65_536
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")
# No query has such numbers by chance: they stand for the literals while sqlglot parses.
_LABEL = 777_000_000_000_000_000_000
_REFUSED = {
    TokenType.LIMIT: "LIMIT is not ADQL; write SELECT TOP 10 ...",
    TokenType.FETCH: "FETCH is not ADQL; write SELECT TOP 10 ...",
    TokenType.DCOLON: ":: is not ADQL; write CAST(value AS type)",
    TokenType.PLACEHOLDER: "? is not ADQL; write the value itself",
    TokenType.PARAMETER: "@ is not ADQL",
}


@dataclass(frozen=True)
class Literal:
    """A number or text of a query: ``int`` (64 bits), ``double`` or ``text``, and its value."""

    kind: str
    value: Value


@dataclass(frozen=True)
class Query:
    """A query as tokens.

    Parameters
    ----------
    tokens
        What sqlglot parses; literals stand there under labels.
    shape
        The same for all queries that differ only in the values of their literals.
    literals
        In the order of their labels.
    """

    text: str
    tokens: list[Token]
    shape: Shape
    literals: tuple[Literal, ...]


def read_literals(adql: str) -> Query:
    """Split a query into its shape and its literals; raises `AdqlError` for what is no ADQL."""
    if len(adql) > _MAX_LENGTH:
        raise AdqlError(f"the query has {len(adql)} characters; {_MAX_LENGTH} are accepted")
    if _CONTROL.search(adql):
        raise AdqlError("the query contains control characters")
    try:
        found = AdqlDialect().tokenize(adql)
    except SqlglotError as e:
        raise AdqlError(f"not ADQL: {one_line(e)}") from e
    tokens: list[Token] = []
    shape: list[str] = []
    literals: list[Literal] = []
    for token in _joined(found, adql):
        if token.token_type in _REFUSED:
            raise AdqlError(_REFUSED[token.token_type])
        if token.token_type in {TokenType.NUMBER, TokenType.STRING}:
            literal = _literal(token)
            shape.append(literal.kind)
            token.text = str(_LABEL + len(literals))
            literals.append(literal)
        else:
            quoted = token.token_type is TokenType.IDENTIFIER
            shape.append(f'"{token.text}"' if quoted else token.text)
        tokens.append(token)
    return Query(adql, tokens, tuple(shape), tuple(literals))


def label_literals(tree: exp.Expr, literals: Sequence[Literal]) -> None:
    """Put the literals back; each node gets the index of its literal as ``meta["slot"]``."""
    for node in tree.find_all(exp.Literal):
        text = str(node.this)
        if len(text) == len(str(_LABEL)) and text.isdigit():
            i = int(text) - _LABEL
            if 0 <= i < len(literals):
                literal = literals[i]
                node.set("this", _plain(literal))
                node.meta["slot"] = i
                node.meta["literal"] = literal


def _plain(literal: Literal) -> str:
    return str(literal.value) if literal.kind != "double" else repr(literal.value)


def _literal(token: Token) -> Literal:
    text = token.text
    if token.token_type is TokenType.STRING:
        # The VOTable says of a text whether it is more than ASCII: that belongs to the shape.
        return Literal("text" if text.isascii() else "unicode", text)
    if text[:2].lower() == "0x":
        return _whole(text, int(text, 16))
    if text.isdigit():
        return _whole(text, int(text))
    try:
        value = float(text)
    except ValueError as e:
        raise AdqlError(f"{text[:40]} is no number") from e
    if value in {float("inf"), float("-inf")}:
        raise AdqlError(f"{text[:40]} is too large a number")
    return Literal("double", value)


def _whole(text: str, value: int) -> Literal:
    if value > 2**63:
        raise AdqlError(f"{text[:40]} does not fit into 64 bits; write it with a decimal point")
    return Literal("int", value)


def _joined(tokens: Sequence[Token], adql: str) -> list[Token]:
    """Put together what the tokenizer splits: hexadecimal numbers, and those without a 0."""
    result: list[Token] = []
    for token in tokens:
        last = result[-1] if result else None
        if last is not None and last.end + 1 == token.start:
            if last.token_type is TokenType.NUMBER and token.token_type is not TokenType.NUMBER:
                if last.text == "0" and _is_hexadecimal(token.text):
                    last.text = f"0{token.text}"
                    continue
                if token.text[:1].isalnum() or token.text[:1] == "_":
                    word = adql[last.start : token.end + 1]
                    raise AdqlError(f"{word[:40]} is neither a number nor a name")
            if last.token_type is TokenType.DOT and token.token_type is TokenType.NUMBER:
                before = result[-2] if len(result) > 1 else None
                if before is None or before.end + 1 < last.start or not _ends_name(before):
                    result.pop()
                    token.text = f"0.{token.text}"
            if _is_sign(result) and token.token_type is TokenType.NUMBER and "." in token.text:
                # Cones of the northern and the southern sky have one shape.
                result.pop()
                token.text = f"-{token.text}"
        result.append(token)
    return result


def _is_sign(tokens: Sequence[Token]) -> bool:
    """Whether a minus stands at the end that begins an argument."""
    if len(tokens) < 2 or tokens[-1].token_type is not TokenType.DASH:
        return False
    return tokens[-2].token_type in {TokenType.L_PAREN, TokenType.COMMA}


def _is_hexadecimal(text: str) -> bool:
    digits = text[1:]
    return text[:1] in {"x", "X"} and bool(digits) and all(c in _HEXADECIMAL for c in digits)


def _ends_name(token: Token) -> bool:
    return token.text[-1:].isalnum() or token.token_type is TokenType.IDENTIFIER


_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
