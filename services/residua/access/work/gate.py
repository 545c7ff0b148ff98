"""Before every request: its size, its rate, and who sent it."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from anyio import to_thread
from fastapi import Request
from fastapi.responses import Response

from residua.access.dali.errors import OverloadError, RequestError, UsageError
from residua.access.dali.responses import error_response
from residua.access.metrics import RequestMetrics
from residua.access.rights.tokens import ANYBODY, Caller, TokenVerifier
from residua.access.settings import AccessSettings

__all__ = ["Gate"]

# What a client must read before it can know that a token is needed, and what probes ask for.
_OPEN = ("/availability", "/capabilities", "/docs", "/openapi.json", "/health")
_CLIENTS_REMEMBERED = 10_000


class Gate:
    """Middleware that lets a request in, with its caller, or answers in its place."""

    def __init__(self, settings: AccessSettings) -> None:
        self.verifier: TokenVerifier | None = None
        self.metrics = RequestMetrics()
        self._settings = settings
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Check the request, then pass it on."""
        began = time.perf_counter()
        try:
            self._check_size(request)
            self._check_rate(request)
            request.state.caller = await self._caller(request)
        except RequestError as e:
            response = error_response(request, e)
        else:
            response = await call_next(request)
        seconds = time.perf_counter() - began
        self.metrics.observe(request.url.path, response.status_code, seconds)
        return response

    async def _caller(self, request: Request) -> Caller:
        if self.verifier is None or request.url.path.endswith(_OPEN):
            return ANYBODY
        header = request.headers.get("authorization")
        return await to_thread.run_sync(self.verifier.caller, header)

    def _check_size(self, request: Request) -> None:
        if request.method in {"GET", "HEAD", "DELETE", "OPTIONS"}:
            return
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            if request.headers.get("transfer-encoding"):
                raise UsageError("a body needs a Content-Length")
            return
        limit = self._settings.max_request_bytes
        if int(length) > limit:
            raise UsageError(f"the body has {length} bytes; {limit} are accepted")

    def _check_rate(self, request: Request) -> None:
        """Token bucket per client address: a minute's worth at once, refilled evenly."""
        per_minute = self._settings.requests_per_minute
        if not per_minute:
            return
        client = request.client.host if request.client else ""
        now = time.monotonic()
        left, then = self._allowances.pop(client, (float(per_minute), now))
        left = min(float(per_minute), left + (now - then) * per_minute / 60.0)
        self._allowances[client] = (max(0.0, left - 1.0), now)
        while len(self._allowances) > _CLIENTS_REMEMBERED:
            self._allowances.popitem(last=False)
        if left < 1.0:
            raise OverloadError(f"more than {per_minute} requests in a minute")
