"""Tables that clients have us fetch: from public addresses or named hosts, with limits."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urljoin, urlsplit

from residua.access.dali.errors import OverloadError, UsageError

__all__ = ["Fetcher"]

_PORTS = {"http": 80, "https": 443}
_FIRST_UNPRIVILEGED = 1024
_MOST_REDIRECTS = 3
_MOST_AT_ONCE = 4
_CHUNK = 65_536
_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Behind it may lie any IPv4 address.
_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Fetcher:
    """Fetches what an address names; nothing behind our own walls can be asked for.

    A name is resolved once, its address is judged, and that very address is connected to: a
    name server that answers otherwise the second time gains nothing.

    Parameters
    ----------
    hosts
        Names of the hosts that may be asked; ``*`` is every one with a public address.
    max_bytes
        Largest table.
    seconds
        Longest time for one, from beginning to end.
    """

    hosts: Sequence[str]
    max_bytes: int
    seconds: float
    _places: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_MOST_AT_ONCE)
    )

    def fetch(self, address: str) -> bytes:
        """Return the content of an ``http`` or ``https`` address.

        Raises
        ------
        UsageError
            The address may not be asked, or does not give a table in time.
        OverloadError
            Others are being fetched.
        """
        # Who fetches holds one of the service's threads: others are not kept waiting for it.
        if not self._places.acquire(blocking=False):
            raise OverloadError(f"{_MOST_AT_ONCE} tables are being fetched; come back in a minute")
        try:
            return self._follow(address, time.monotonic() + self.seconds)
        except (HTTPException, OSError, ValueError) as e:
            raise UsageError(
                f"UPLOAD: {address[:200]} cannot be fetched within {self.seconds:g} s: "
                f"{type(e).__name__}"
            ) from e
        finally:
            self._places.release()

    def _follow(self, address: str, deadline: float) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            url = _url(address)
            with self._asked(url, deadline) as response:
                location = response.headers.get("Location")
                if response.status == _OK:
                    return self._content(response, address, deadline)
                if response.status not in _REDIRECTS or not location:
                    raise UsageError(f"UPLOAD: {address[:200]} answers {response.status}")
                address = urljoin(address, location)
        raise UsageError(f"UPLOAD: more than {_MOST_REDIRECTS} redirections")

    @contextmanager
    def _asked(self, url: SplitResult, deadline: float) -> Iterator[HTTPResponse]:
        host, port = url.hostname or "", url.port or _PORTS[url.scheme]
        left = max(0.1, deadline - time.monotonic())
        taken = socket.create_connection((self._place(host, port), port), timeout=left)
        if url.scheme == "https":
            context = ssl.create_default_context()
            taken = context.wrap_socket(taken, server_hostname=host, do_handshake_on_connect=False)
        # A peer that sends byte after byte must not move the deadline.
        timer = threading.Timer(left, _hang_up, (taken,))
        timer.start()
        connection = HTTPConnection(host, port)
        connection.sock = taken
        try:
            if isinstance(taken, ssl.SSLSocket):
                taken.do_handshake()
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("GET", target, headers={"User-Agent": "Residua"})
            yield connection.getresponse()
        finally:
            timer.cancel()
            connection.close()

    def _place(self, host: str, port: int) -> str:
        """Return the address behind a name, if it may be connected to."""
        named = host.lower() in {h.lower() for h in self.hosts}
        if not named and "*" not in self.hosts:
            raise UsageError(
                f"UPLOAD: tables are not fetched from {host[:100]!r}: send the VOTable in the "
                "same request as NAME,param:FILE, or have the operator name the host "
                "(RESIDUA_UPLOAD_HOSTS)"
            )
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise UsageError(f"UPLOAD: there is no host {host[:100]!r}") from e
        place = str(found[0][4][0])
        if named:
            return place
        if not _is_public(place):
            raise UsageError(f"UPLOAD: {host[:100]!r} is no public address")
        if port < _FIRST_UNPRIVILEGED and port not in _PORTS.values():
            raise UsageError(f"UPLOAD: tables are not fetched from port {port}")
        return place

    def _content(self, response: HTTPResponse, address: str, deadline: float) -> bytes:
        parts, size = [], 0
        while part := response.read1(_CHUNK):
            size += len(part)
            if size > self.max_bytes:
                raise UsageError(f"UPLOAD: {address[:200]} has more than {self.max_bytes} bytes")
            parts.append(part)
        if time.monotonic() > deadline:
            raise UsageError(f"UPLOAD: {address[:200]} was not here within {self.seconds:g} s")
        return b"".join(parts)


def _url(address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        usable = url.scheme in _PORTS and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or any(ord(c) <= 0x20 for c in address):
        raise UsageError(f"UPLOAD: {address[:60]!r} is no http or https address")
    if url.username is not None or url.password is not None:
        raise UsageError("UPLOAD: an address with a user's name is not fetched")
    return url


def _hang_up(taken: socket.socket) -> None:
    with suppress(OSError):
        taken.shutdown(socket.SHUT_RDWR)


def _is_public(place: str) -> bool:
    address = ip_address(place.partition("%")[0])
    # An IPv4 address in IPv6 clothes is judged as what it reaches.
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    address = inner or address
    return address.is_global and not address.is_multicast and address not in _NAT64
