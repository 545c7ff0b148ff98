"""Answers that say what went wrong."""

from fastapi import Request
from fastapi.responses import Response

from residua.access.dali.errors import RequestError
from residua.access.dali.votable import error_document

__all__ = ["error_response"]

_VOTABLE_PATHS = ("/sia/", "/tap/", "/datalink/")


def error_response(request: Request, error: RequestError) -> Response:
    """Answer with an error in the words of the service that was asked."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.status == 503:
        headers["Retry-After"] = "10"
    if request.url.path.startswith(_VOTABLE_PATHS):
        document = error_document(error.message)
        return Response(
            document, error.status, headers=headers, media_type="application/x-votable+xml"
        )
    return Response(
        f"{error.fault}: {error.message}\n", error.status, headers=headers, media_type="text/plain"
    )
