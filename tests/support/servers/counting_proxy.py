"""A TCP proxy on loopback that counts what a server sends: how much of a file was read."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["CountingProxy", "counting_proxy"]

_CHUNK = 1 << 16


class CountingProxy:
    """Passes bytes on between clients and one server.

    Parameters
    ----------
    target
        TCP port of the server on 127.0.0.1.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._received = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def taken(self) -> int:
        """Return the bytes the server has sent since the last call."""
        with self._lock:
            received, self._received = self._received, 0
        return received

    def close(self) -> None:
        """Take no more connections."""
        # Closing alone does not wake the thread that waits for one.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, counted in ((client, server, False), (server, client, True)):
                threading.Thread(
                    target=self._pass_on, args=(source, sink, counted), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if counted:
                    with self._lock:
                        self._received += len(data)
                sink.sendall(data)
        for side in (source, sink):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


@contextmanager
def counting_proxy(target: int) -> Iterator[CountingProxy]:
    """Run a proxy in front of a port of this machine."""
    proxy = CountingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
