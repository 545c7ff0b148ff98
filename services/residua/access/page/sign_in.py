"""Signing in with a token, for browsers, which send no header of their own with a link.

The token lies in a cookie that only this service gets (``HttpOnly``), and only from its own pages
(``SameSite=Strict``). Where a proxy in front adds the header, nobody needs it.
"""

from urllib.parse import parse_qs

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from residua.access.dali.errors import UnauthorizedError
from residua.access.page.render import base_path, page
from residua.access.work.context import access_of
from residua.access.work.gate import TOKEN_COOKIE

__all__ = ["router"]

router = APIRouter(tags=["Page"], include_in_schema=False)


@router.get("/sign-in")
async def sign_in(request: Request) -> Response:
    """Ask for a token."""
    return page(request, "sign_in.html", problem=None, tab="")


@router.post("/sign-in")
async def signed_in(request: Request) -> Response:
    """Keep a token that is valid; an empty one signs out."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    token = form.get("token", [""])[0].strip()
    answer = RedirectResponse(f"{base_path(request)}/", status_code=303)
    if not token:
        answer.delete_cookie(TOKEN_COOKIE)
        return answer
    verifier = access_of(request).verifier
    if verifier is not None:
        try:
            await to_thread.run_sync(verifier.caller, f"Bearer {token}")
        except UnauthorizedError as e:
            return page(request, "sign_in.html", problem=e.message, tab="")
    secure = request.url.scheme == "https"
    answer.set_cookie(TOKEN_COOKIE, token, httponly=True, samesite="strict", secure=secure)
    return answer
