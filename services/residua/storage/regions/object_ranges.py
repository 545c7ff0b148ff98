"""Objects of a store by plain HTTP at addresses that were signed once.

A call of boto costs three times what the request itself does, and cutouts make several. boto stays
the authority: whatever does not come at once as it should is asked of it again, with its retries
and its errors.
"""

import time
from typing import Any

from lsst.resources import ResourcePath

from residua.inner_names import bucket, http_session

__all__ = ["SignedObject", "signed_address"]

_VALID_SECONDS = 3_600
_RENEWED_SECONDS = 600.0


def signed_address(location: ResourcePath, operation: str, seconds: int) -> str:
    """Sign an address of an object by AWS Signature Version 4; some stores take no older one.

    Parameters
    ----------
    location
        In S3.
    operation
        ``get_object`` or ``head_object``: what is signed for one is refused for the other.
    seconds
        How long it is good for.
    """
    place: Any = location
    events = place.client.meta.events
    # boto's default for links is version 2 in some regions.
    events.register_first("choose-signer.s3", _version_4, unique_id="residua-signature")
    url: str = place.client.generate_presigned_url(
        operation,
        Params={"Bucket": bucket(place), "Key": location.relativeToPathRoot},
        ExpiresIn=seconds,
    )
    return url


class SignedObject:
    """An object of a store, asked for at an address that is good for a while.

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
        self._signed: tuple[str, float] | None = None

    def ask(self, headers: dict[str, str]) -> Any | None:
        """Ask once; `None` if the answer is not the object, for whatever reason."""
        from botocore.awsrequest import AWSPreparedRequest
        from botocore.exceptions import BotoCoreError

        try:
            request = AWSPreparedRequest(self._method, self._address(), headers, None, False)
            answer = http_session(self._location).send(request)
        except BotoCoreError:
            return None
        if answer.status_code not in {200, 206}:
            # Credentials may have ended before the address: another one next time.
            self._signed = None
            return None
        return answer

    def _address(self) -> str:
        now = time.monotonic()
        if self._signed is None or now - self._signed[1] > _RENEWED_SECONDS:
            self._signed = signed_address(self._location, self._operation, _VALID_SECONDS), now
        return self._signed[0]


def _version_4(signature_version: str, **_: Any) -> str | None:
    return "s3v4-query" if signature_version.endswith("query") else None
