"""The outermost layer: lets requests in by the gate, and ends their work with their clients."""

import asyncio
import time

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from residua.access.dali.errors import RequestError
from residua.access.dali.responses import error_response
from residua.access.limits.cancellation import Cancellation
from residua.access.work.addresses import canonical
from residua.access.work.gate import Gate

__all__ = ["Admission"]


class Admission:
    """ASGI middleware.

    Parameters
    ----------
    app
        What answers those that are let in.
    gate
        Who is.
    collection
        See `canonical`.
    """

    def __init__(self, app: ASGIApp, gate: Gate, collection: str) -> None:
        self._app = app
        self._gate = gate
        self._collection = collection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = canonical(scope, self._collection)
        request = Request(scope)
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - began
                self._gate.metrics.observe(request.url.path, message["status"], seconds)
            await send(message)

        try:
            body = await self._gate.admit(request, receive)
        except RequestError as e:
            response = error_response(request, e)
            # The rest of the request is not waited for.
            response.headers["Connection"] = "close"
            await response(scope, receive, counted)
        except ClientDisconnect:
            return
        else:
            await self._answer(scope, body, receive, counted)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        cancellation = Cancellation()
        scope.setdefault("state", {})["cancellation"] = cancellation
        gone = asyncio.Event()
        read = False
        task = asyncio.current_task()
        assert task is not None

        async def replay() -> Message:
            nonlocal read
            if not read:
                read = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            cancellation.set()
            task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            await self._app(scope, replay, send)
        except asyncio.CancelledError:
            if not gone.is_set():
                raise
            task.uncancel()
        finally:
            watcher.cancel()
