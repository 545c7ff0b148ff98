"""Whose jobs are whose: the token's subject, or without tokens a secret of the client's own."""

import hashlib
import secrets
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from residua.access.work.context import access_of, caller_of, public_url

__all__ = ["Owner", "owner_of"]

_COOKIE = "residua_jobs"


@dataclass(frozen=True)
class Owner:
    """Whose jobs a request may see.

    Parameters
    ----------
    name
        What is written with the jobs; nobody can tell the secret from it.
    only
        Whether a job of another owner is hidden. Without tokens its address is the key to it: no
        one can guess that either, and most clients keep no cookies.
    new_secret
        The cookie to set, if the client brought none.
    """

    name: str
    only: bool
    new_secret: str | None = None

    def sign(self, request: Request, response: Response) -> None:
        """Give the client its secret with an answer, if it has none yet."""
        if self.new_secret is not None:
            response.set_cookie(
                _COOKIE,
                self.new_secret,
                max_age=round(access_of(request).settings.job_days * 86_400),
                httponly=True,
                secure=public_url(request).startswith("https://"),
                samesite="lax",
            )


def owner_of(request: Request) -> Owner:
    """Return whose jobs this request is about."""
    caller = caller_of(request)
    if access_of(request).settings.tokens_required:
        return Owner(caller.key, only=True)
    secret = request.cookies.get(_COOKIE, "")
    if not 32 <= len(secret) <= 64:
        fresh = secrets.token_urlsafe(32)
        return Owner(_name(fresh), only=False, new_secret=fresh)
    return Owner(_name(secret), only=False)


def _name(secret: str) -> str:
    return f"browser {hashlib.sha256(secret.encode()).hexdigest()[:32]}"
