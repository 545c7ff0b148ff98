"""Answers that say what went wrong."""

from html import escape

from fastapi import Request
from fastapi.responses import Response

from residua.access.dali.errors import RequestError
from residua.access.dali.votable import error_document

__all__ = ["error_response"]

_TITLES = {401: "Sign in first", 403: "Not yours to see", 404: "Not here", 429: "Too many at once"}

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
    if "text/html" in request.headers.get("accept", "").lower():
        document = _page(request, error)
        return Response(document, error.status, headers=headers, media_type="text/html")
    return Response(
        f"{error.fault}: {error.message}\n", error.status, headers=headers, media_type="text/plain"
    )


def _page(request: Request, error: RequestError) -> str:
    """Say it in a page; no template, so that a request refused at the door has one too."""
    title = _TITLES.get(error.status, "This cannot be answered")
    base = "/api" if request.scope.get("state", {}).get("under_api") else ""
    ways = f'<a class="button" href="{base}/">Tonight</a>'
    if error.status in {401, 403}:
        ways = f'<a class="button" href="{base}/sign-in">Sign in with a token</a>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title} · Residua</title><link rel="stylesheet" href="{base}/static/page.css">'
        f"</head><body><main><h1>{title}</h1>"
        f'<p class="notice" role="alert">{escape(error.message)}</p><p>{ways}</p>'
        "</main></body></html>"
    )
