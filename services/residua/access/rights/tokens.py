"""Bearer tokens: JSON Web Tokens signed by a key of the configured set."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from residua.access.dali.errors import ForbiddenError, UnauthorizedError
from residua.access.settings import AccessSettings

if TYPE_CHECKING:
    from jwt import PyJWK, PyJWKClient

__all__ = ["ANYBODY", "Caller", "TokenVerifier"]

# No HMAC: the key set is public. No "none".
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
_RELOAD_SECONDS = 300.0


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Parameters
    ----------
    name
        Subject of the token, or the word for nobody in particular.
    scopes
        What the token allows; `None` for everything but the embargo, without tokens.
    key
        What work is shared and counted by: the subject; of a token without one the token; without
        tokens the address.
    """

    name: str
    scopes: frozenset[str] | None
    key: str = ""

    def require(self, scope: str) -> None:
        """Raise `ForbiddenError` unless the scope is there."""
        if self.scopes is not None and scope not in self.scopes:
            raise ForbiddenError(f"the token of {self.name} lacks the scope {scope}")

    def has(self, scope: str) -> bool:
        """Whether a token names the scope."""
        return self.scopes is not None and scope in self.scopes


ANYBODY = Caller("anybody", None)
"""The caller of a service without tokens."""


class TokenVerifier:
    """Checks signature, expiry, issuer and audience of tokens.

    Parameters
    ----------
    settings
        With ``jwks_url``: an ``https`` address or a file.
    """

    def __init__(self, settings: AccessSettings) -> None:
        assert settings.jwks_url is not None
        self._issuer = settings.token_issuer
        self._audience = settings.token_audience
        self._path: Path | None = None
        self._client: PyJWKClient | None = None
        self._keys: dict[str | None, PyJWK] = {}
        self._read_at = float("-inf")
        self._lock = Lock()
        if settings.jwks_url.startswith(("https://", "http://")):
            import jwt

            self._client = jwt.PyJWKClient(settings.jwks_url, cache_keys=True, timeout=10)
        else:
            self._path = Path(settings.jwks_url.removeprefix("file://"))

    def caller(self, authorization: str | None) -> Caller:
        """Return who the value of an ``Authorization`` header speaks for.

        Raises
        ------
        UnauthorizedError
            It is missing, or not a token that is valid here and now.
        """
        import jwt

        if not authorization:
            raise UnauthorizedError("a bearer token is required")
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise UnauthorizedError("the Authorization header is not a bearer token")
        try:
            claims = self._claims(token.strip())
        except (jwt.PyJWTError, ValueError, OSError) as e:
            raise UnauthorizedError(f"the token is not valid: {e}") from e
        subject = claims.get("sub")
        if not subject:
            digest = hashlib.sha256(token.strip().encode()).hexdigest()
            return Caller("unnamed", _scopes(claims), f"token {digest}")
        return Caller(str(subject), _scopes(claims), str(subject))

    def _claims(self, token: str) -> dict[str, Any]:
        import jwt

        return jwt.decode(
            token,
            self._key(token),
            algorithms=list(_ALGORITHMS),
            issuer=self._issuer,
            audience=self._audience,
            options={"require": ["exp"], "verify_aud": self._audience is not None},
        )

    def _key(self, token: str) -> "PyJWK":
        import jwt

        if self._client is not None:
            return self._client.get_signing_key_from_jwt(token)
        key_id = jwt.get_unverified_header(token).get("kid")
        keys = self._file_keys()
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        if key_id not in keys:
            raise jwt.InvalidTokenError("it is signed by an unknown key")
        return keys[key_id]

    def _file_keys(self) -> "dict[str | None, PyJWK]":
        from jwt import PyJWKSet

        assert self._path is not None
        with self._lock:
            if time.monotonic() - self._read_at > _RELOAD_SECONDS:
                key_set = PyJWKSet.from_dict(json.loads(self._path.read_text()))
                self._keys = {key.key_id: key for key in key_set.keys}
                self._read_at = time.monotonic()
            return self._keys


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    scopes = claims.get("scope", claims.get("scp", ""))
    words = scopes.split() if isinstance(scopes, str) else scopes
    return frozenset(str(word) for word in words) if isinstance(words, list) else frozenset()
