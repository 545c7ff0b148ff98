"""Addresses at which an object store hands out one object for a while."""

from lsst.resources import ResourcePath

from residua.access.dali.errors import RequestError
from residua.storage.regions.object_ranges import signed_address

__all__ = ["signed_url"]


def signed_url(location: ResourcePath, operation: str, seconds: int, media_type: str) -> str:
    """Sign an address; see `signed_address`. Raises `RequestError` for what is not in S3."""
    if location.scheme != "s3":
        raise RequestError(f"files cannot be delivered from {location.scheme}://")
    return signed_address(location, operation, seconds, media_type)
