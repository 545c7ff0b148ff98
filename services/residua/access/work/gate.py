"""Before every request: its size, its rate, and who sent it."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import replace

from anyio import to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from residua.access.dali.errors import OverloadError, SlowRequestError, UsageError
from residua.access.metrics import RequestMetrics
from residua.access.rights.tokens import ANYBODY, Caller, TokenVerifier
from residua.access.settings import AccessSettings

__all__ = ["TOKEN_COOKIE", "Gate"]

TOKEN_COOKIE = "residua_token"  # noqa: S105 its name
"""Holds the token of a browser; it counts for reading alone."""

# What a client must read before it can know that a token is needed, and what probes ask for.
_OPEN = (
    "/availability", "/capabilities", "/docs", "/openapi.json", "/health", "/discovery", "/sign-in",
)  # fmt: skip
_OPEN_FOLDER = "/static/"
_CLIENTS_REMEMBERED = 10_000


class Gate:
    """Decides who comes in, how often, and with how much."""

    def __init__(self, settings: AccessSettings) -> None:
        self.verifier: TokenVerifier | None = None
        self.metrics = RequestMetrics()
        self._settings = settings
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def admit(self, request: Request, receive: Receive) -> bytes:
        """Check a request, note its caller, and read its body.

        Raises
        ------
        RequestError
            It may not come in, is too large, or does not arrive in time.
        ClientDisconnect
            The client went away.
        """
        self._check_length(request)
        self._check_rate(request)
        request.state.caller = await self._caller(request)
        seconds = self._settings.read_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._body(receive)
        except TimeoutError as e:
            raise SlowRequestError(f"the body was not here within {seconds:g} s") from e

    async def _body(self, receive: Receive) -> bytes:
        limit, parts, size = self._settings.max_request_bytes, [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise UsageError(f"the body has more than {limit} bytes")
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _caller(self, request: Request) -> Caller:
        path = request.url.path
        if self.verifier is None or path.endswith(_OPEN) or path.startswith(_OPEN_FOLDER):
            return replace(ANYBODY, key=_address(request))
        header = request.headers.get("authorization")
        if header is None and request.method == "GET" and TOKEN_COOKIE in request.cookies:
            header = f"Bearer {request.cookies[TOKEN_COOKIE]}"
        return await to_thread.run_sync(self.verifier.caller, header)

    def _check_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        limit = self._settings.max_request_bytes
        if length.isdigit() and int(length) > limit:
            raise UsageError(f"the body has {length} bytes; {limit} are accepted")

    def _check_rate(self, request: Request) -> None:
        """Token bucket per client address: a minute's worth at once, refilled evenly."""
        per_minute = self._settings.requests_per_minute
        if not per_minute:
            return
        client = _address(request)
        now = time.monotonic()
        left, then = self._allowances.pop(client, (float(per_minute), now))
        left = min(float(per_minute), left + (now - then) * per_minute / 60.0)
        self._allowances[client] = (max(0.0, left - 1.0), now)
        while len(self._allowances) > _CLIENTS_REMEMBERED:
            self._allowances.popitem(last=False)
        if left < 1.0:
            raise OverloadError(f"more than {per_minute} requests in a minute")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
