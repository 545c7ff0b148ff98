"""The JSON file that lies beside an image, as Rubin's camera writes it."""

import json

import structlog
from lsst.resources import ResourcePath

from residua.errors import MissingFileError
from residua.storage.objects import read_start

__all__ = ["group_of_sidecar"]

_MOST_BYTES = 1024 * 1024
_LONGEST_GROUP = 64


def group_of_sidecar(location: ResourcePath, key: str) -> str | None:
    """Return the group named in the JSON file beside an image; `None` where it tells none.

    Parameters
    ----------
    location
        The image; the file beside it has its name up to ``.fits``, and ``.json``.
    key
        Under which the group stands.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    base = location.basename()
    beside = location.parent().join(f"{base[: base.lower().rfind('.fit')]}.json")
    try:
        group = json.loads(read_start(beside, _MOST_BYTES)).get(key)
    except (MissingFileError, ValueError, AttributeError, RecursionError) as e:
        structlog.get_logger(__name__).warning(
            "no_sidecar", uri=str(beside.geturl()), error=f"{type(e).__name__}: {e}"[:200]
        )
        return None
    return str(group)[:_LONGEST_GROUP] if group else None
