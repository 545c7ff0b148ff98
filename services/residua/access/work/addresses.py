"""Other names of our addresses: Rubin's, those of bare services, and HEAD."""

import re

from starlette.types import Scope

__all__ = ["canonical"]

_SIA = re.compile(
    r"/sia(?:/(?P<collection>[^/]+))??(?:/(?P<end>query|capabilities|availability))?/?"
)
# These answer HEAD themselves, and sooner.
_OWN_HEAD = ("/images/", "/previews/", "/detections/")


def canonical(scope: Scope, collection: str) -> Scope:
    """Return a request as it would be under our own names.

    ``/api/...`` is what Rubin puts before every service; ``/sia/{collection}/query`` is its SIA,
    and ``/sia`` alone, as it is printed, is ours. HEAD is GET without the body, which the server
    leaves away.

    Parameters
    ----------
    scope
        Of an HTTP request.
    collection
        The one collection that is served.
    """
    path: str = scope["path"]
    state = dict(scope.get("state", {}))
    if path == "/api" or path.startswith("/api/"):
        state["under_api"] = True
        path = path[4:] or "/"
    found = _SIA.fullmatch(path)
    if found is not None and (found["collection"] or collection).lower() == collection.lower():
        path = f"/sia/{found['end'] or 'query'}"
    method = scope["method"]
    if method == "HEAD" and not path.startswith(_OWN_HEAD):
        method = "GET"
    return {**scope, "path": path, "raw_path": path.encode(), "method": method, "state": state}
