"""Read a difference image back as arrays."""

from lsst.resources import ResourcePath

from residua.instruments import InstrumentRegistry
from residua.storage.objects import read_object
from residua.storage.read.file_contents import FileContents
from residua.storage.read.readers import read_image

__all__ = ["read_difference_image"]


def read_difference_image(uri: str, *, checksum: str | None = None) -> FileContents:
    """Read a difference image: planes, WCS, PSF and metadata.

    Parameters
    ----------
    uri
        Where it is; not checked against roots, because it comes from our own outcomes.
    checksum
        What its bytes must add up to, if known.

    Raises
    ------
    residua.errors.ResiduaError
        Missing, damaged, or other bytes than announced.
    residua.errors.TransientError
        The store does not answer.
    """
    content, _ = read_object(ResourcePath(uri, forceAbsolute=True), checksum)
    return read_image(content, uri, InstrumentRegistry())
