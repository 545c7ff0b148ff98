"""HTTP connections that end when the other side does not go on."""

import asyncio
from typing import Any, override

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["impatient_protocol"]


def impatient_protocol(read_seconds: float, write_seconds: float) -> type[H11Protocol]:
    """Make the protocol of a server.

    Parameters
    ----------
    read_seconds
        From the start of a connection, or of the next request on it, until the request's
        headers are there.
    write_seconds
        How long the other side may take to read some 50 kB of what waits for it.
    """

    class ImpatientProtocol(H11Protocol):
        """Closes connections that are silent in the middle of a request or an answer."""

        _header_timer: asyncio.TimerHandle | None = None
        _write_timer: asyncio.TimerHandle | None = None

        @override
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_headers()

        @override
        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before or not self._between_requests():
                self._stop("_header_timer")
            elif self._header_timer is None:
                self._await_headers()

        @override
        def pause_writing(self) -> None:
            super().pause_writing()
            if self._write_timer is None:
                self._write_timer = self.loop.call_later(write_seconds, self.transport.abort)

        @override
        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop("_write_timer")

        @override
        def connection_lost(self, exc: Exception | None) -> None:
            self._stop("_header_timer")
            self._stop("_write_timer")
            super().connection_lost(exc)

        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _await_headers(self) -> None:
            self._header_timer = self.loop.call_later(read_seconds, self._give_up)

        def _give_up(self) -> None:
            self._header_timer = None
            if self._between_requests():
                self.transport.abort()

        def _stop(self, name: str) -> None:
            timer: Any = getattr(self, name)
            if timer is not None:
                timer.cancel()
                setattr(self, name, None)

    return ImpatientProtocol
