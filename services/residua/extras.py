"""What is installed only where it is asked for: a missing extra is one line that names it."""

from functools import cache
from importlib.util import find_spec

__all__ = ["MissingExtraError", "require", "require_for"]

_MODULES = {
    "postgres": ("psycopg",),
    "s3": ("boto3", "s3fs"),
    "tokens": ("jwt", "cryptography"),
    "avro": ("fastavro",),
    "docs": ("mkdocs", "material", "mkdocstrings", "latex2mathml"),
    "tracing": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}
_EXTRA_OF_SCHEME = {"postgresql": "postgres", "postgres": "postgres", "s3": "s3"}


class MissingExtraError(SystemExit):
    """An installation lacks what its settings ask for.

    Not an `Exception`: nothing that handles one event or one request may take it for theirs. It
    ends the process with its message, as the interpreter does for every `SystemExit`.
    """


def require(extra: str, wanted_by: str) -> None:
    """Check that an extra is installed.

    Parameters
    ----------
    extra
        Its name in ``residua[...]``.
    wanted_by
        The setting or argument that asks for it, for the message.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    missing = _missing(extra)
    if missing is not None:
        raise MissingExtraError(
            f"residua: {wanted_by} needs {missing}, which is not installed: "
            f"pip install 'residua[{extra}]'"
        )


def require_for(*addresses: str) -> None:
    """Check what the schemes of URIs or database URLs ask for; raises `MissingExtraError`."""
    for address in addresses:
        scheme = address.partition("://")[0].partition("+")[0]
        if scheme in _EXTRA_OF_SCHEME and "://" in address:
            require(_EXTRA_OF_SCHEME[scheme], f"{scheme}://")


@cache
def _missing(extra: str) -> str | None:
    return next((name for name in _MODULES[extra] if not _is_there(name)), None)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        # A package above it is not there.
        return False
