"""Objects of a store by plain HTTP, with requests that were signed once.

A call of boto costs three times what the request itself does, and cutouts make several; a request
by boto's session still costs twice as much as one by the pool of connections below it. boto stays
the authority: whatever does not come at once as it should is asked of it again, with its retries
and its errors.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lsst.resources import ResourcePath

from residua.inner_names import bucket, http_pool, sign_request

__all__ = ["Answer", "SignedObject", "signed_address"]

# Stores take what was signed up to fifteen minutes ago, by their own clocks.
_RENEWED_SECONDS = 300.0


def signed_address(
    location: ResourcePath, operation: str, seconds: int, media_type: str | None = None
) -> str:
    """Sign an address of an object by AWS Signature Version 4; some stores take no older one.

    Parameters
    ----------
    location
        In S3.
    operation
        ``get_object`` or ``head_object``: what is signed for one is refused for the other.
    seconds
        How long it is good for.
    media_type
        What the store shall call it; by default what it takes it for.
    """
    named = {} if media_type is None else {"ResponseContentType": media_type}
    place: Any = location
    events = place.client.meta.events
    # boto's default for links is version 2 in some regions.
    events.register_first("choose-signer.s3", _version_4, unique_id="residua-signature")
    url: str = place.client.generate_presigned_url(
        operation,
        Params={"Bucket": bucket(place), "Key": location.relativeToPathRoot, **named},
        ExpiresIn=seconds,
    )
    return url


@dataclass(frozen=True)
class Answer:
    """What a store said.

    Parameters
    ----------
    headers
        Names in any case.
    content
        All of it.
    """

    headers: Mapping[str, str]
    content: bytes


class SignedObject:
    """An object of a store, asked for by a request that is good for a while.

    It is signed in its headers: an address with a signature is long, and is read character by
    character several times before it is sent.

    Parameters
    ----------
    location
        In S3.
    operation
        As of `signed_address`.
    """

    def __init__(self, location: ResourcePath, operation: str) -> None:
        self._location = location
        self._operation = operation
        self._method = {"get_object": "GET", "head_object": "HEAD"}[operation]
        self._signed: tuple[_Signed, float] | None = None

    def ask(self, headers: dict[str, str]) -> Answer | None:
        """Ask once; `None` if the answer is not the object, for whatever reason."""
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            signed = self._request()
            if signed.pool is None:
                return None
            answer = signed.pool.urlopen(
                self._method,
                signed.target,
                headers={**signed.headers, **headers},
                retries=False,
                redirect=False,
                assert_same_host=False,
                decode_content=False,
            )
        except (BotoCoreError, HTTPError):
            # The pool may have been closed in favour of others: taken anew next time.
            self._signed = None
            return None
        if answer.status not in {200, 206}:
            # Credentials may have ended, or a clock be wrong: signed anew next time.
            self._signed = None
            return None
        return Answer(answer.headers, answer.data)

    def _request(self) -> "_Signed":
        from botocore.awsrequest import AWSRequest

        now = time.monotonic()
        if self._signed is None or now - self._signed[1] > _RENEWED_SECONDS:
            address = signed_address(self._location, self._operation, 60).partition("?")[0]
            request = AWSRequest(self._method, address)
            sign_request(self._location, self._operation, request)
            parts = urlsplit(address)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            pool = http_pool(self._location, address)
            signed = _Signed(target, _text(request.headers), pool)
            self._signed = signed, now
        return self._signed[0]


@dataclass(frozen=True)
class _Signed:
    target: str
    headers: Mapping[str, str]
    pool: Any


def _text(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    # Botocore keeps some as bytes.
    found = {}
    for name, value in headers.items():
        found[name] = value.decode("ascii") if isinstance(value, bytes) else value
    return found


def _version_4(signature_version: str, **_: Any) -> str | None:
    return "s3v4-query" if signature_version.endswith("query") else None
