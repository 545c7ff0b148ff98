"""A proxy before an S3 store that answers as stores, proxies and networks do on bad days."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import override

__all__ = ["FaultyStore", "running_faulty_store"]

_CODES = {
    "401": (401, "InvalidAccessKeyId"),
    "403": (403, "AccessDenied"),
    "404": (404, "NoSuchKey"),
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "no bucket": (404, "NoSuchBucket"),
}


class FaultyStore:
    """What the proxy does, to be changed at any time.

    Parameters
    ----------
    mode
        ``ok``; an error of `_CODES`; ``reset``: the connection is closed without an answer; of
        bodies that are read: ``cut`` (half of what is announced), ``short`` (half, announced as
        such), ``flipped`` (one bit).
    checksums
        Whether answers keep the store's own checksums; older stores have none.
    """

    def __init__(self, upstream: str) -> None:
        self.mode = "ok"
        self.checksums = True
        self.address = ""
        self.upstream = upstream.split("//")[1]


@contextmanager
def running_faulty_store(upstream: str) -> Iterator[FaultyStore]:
    """Serve on a port of its own, at ``address``, before the store at ``upstream``."""
    store = FaultyStore(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @override
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def answer(self) -> None:
            """Forward one request, and spoil its answer."""
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            if store.mode == "reset":
                self.close_connection = True
                return
            if store.mode in _CODES:
                code, word = _CODES[store.mode]
                text = f"<Error><Code>{word}</Code><Message>by request</Message></Error>"
                self.reply(code, {"Content-Type": "application/xml"}, text.encode())
                return
            client = http.client.HTTPConnection(store.upstream, timeout=60)
            client.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                client.putheader(name, value)
            client.endheaders(body)
            found = client.getresponse()
            content, headers = found.read(), dict(found.getheaders())
            client.close()
            if self.command == "GET" and found.status < 300 and b"<?xml" not in content[:64]:
                self.spoil(found.status, headers, content)
            else:
                self.reply(found.status, headers, content)

        def spoil(self, status: int, headers: dict[str, str], content: bytes) -> None:
            """Answer with a file's bytes, not as they are."""
            half = content[: len(content) // 2]
            if store.mode == "cut":
                self.reply(status, headers, half, announced=len(content))
                self.close_connection = True
            elif store.mode == "short":
                self.reply(status, headers, half)
            elif store.mode == "flipped":
                self.reply(
                    status,
                    headers,
                    half + bytes([content[len(half)] ^ 1]) + content[len(half) + 1 :],
                )
            else:
                self.reply(status, headers, content)

        def reply(
            self, status: int, headers: dict[str, str], content: bytes, announced: int | None = None
        ) -> None:
            """Send an answer."""
            self.send_response(status)
            hidden = {"transfer-encoding", "connection", "date", "server"}
            if self.command != "HEAD":
                hidden |= {"content-length"}
                self.send_header("Content-Length", str(announced or len(content)))
            for name, value in headers.items():
                kept = store.checksums or not name.lower().startswith("x-amz-checksum")
                if name.lower() not in hidden and kept:
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 as the server asks

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
