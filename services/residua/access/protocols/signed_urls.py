"""Addresses at which an object store hands out one object for a while."""

from typing import Any

from lsst.resources import ResourcePath

from residua.access.dali.errors import RequestError
from residua.inner_names import bucket

__all__ = ["signed_url"]


def signed_url(location: ResourcePath, operation: str, seconds: int) -> str:
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
    if location.scheme != "s3":
        raise RequestError(f"files cannot be delivered from {location.scheme}://")
    events = place.client.meta.events
    # boto's default for links is version 2 in some regions.
    events.register_first("choose-signer.s3", _version_4, unique_id="residua-signature")
    url: str = place.client.generate_presigned_url(
        operation,
        Params={"Bucket": bucket(place), "Key": location.relativeToPathRoot},
        ExpiresIn=seconds,
    )
    return url


def _version_4(signature_version: str, **_: Any) -> str | None:
    return "s3v4-query" if signature_version.endswith("query") else None
