"""Parameters every query has, whether it runs at once or as a job: LANG, QUERY and the format."""

from residua.access.dali.errors import UsageError
from residua.access.dali.formats import Format, format_of
from residua.access.dali.parameters import Parameters

__all__ = ["checked_query", "format_asked"]

_LANGUAGES = frozenset({"ADQL", "ADQL-2.0", "ADQL-2.1"})


def checked_query(parameters: Parameters) -> str:
    """Return the query; raises `UsageError` for other languages."""
    if (parameters.one("REQUEST") or "doQuery").lower() != "doquery":
        raise UsageError("REQUEST must be doQuery")
    language = parameters.one("LANG")
    if language is None or language.strip().upper() not in _LANGUAGES:
        raise UsageError(f"LANG must be one of {', '.join(sorted(_LANGUAGES))}")
    adql = parameters.one("QUERY")
    if adql is None:
        raise UsageError("QUERY is missing")
    return adql


def format_asked(parameters: Parameters) -> Format:
    """Return the format of RESPONSEFORMAT, or of its older name FORMAT."""
    return format_of(parameters.one("RESPONSEFORMAT") or parameters.one("FORMAT"))
