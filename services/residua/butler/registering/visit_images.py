"""Visit images that Butler can read: those that are archives of ``lsst.images``."""

from collections.abc import Sequence

import structlog
from astropy.io import fits
from lsst.resources import ResourcePath

from residua.errors import UriNotAllowedError
from residua.storage.objects import resolve

__all__ = ["archived_visit_image"]

_LOG = structlog.get_logger(__name__)
# The first cards say what wrote the file.
_HEAD_BYTES = 4 * 2880


def archived_visit_image(uri: str, roots: Sequence[str]) -> ResourcePath | None:
    """Return where a visit image lies, if Butler can read it.

    Files of other conventions, those that are gone, and those elsewhere are left out: the
    difference image is registered all the same.

    Parameters
    ----------
    roots
        Where it must lie.
    """
    if not roots:
        return None
    try:
        location = resolve(uri, roots)
        head = location.read(size=_HEAD_BYTES)
    except (UriNotAllowedError, OSError) as e:
        _LOG.info("butler_visit_image_left_out", uri=uri, reason=type(e).__name__)
        return None
    if not head.startswith(b"SIMPLE  ="):
        return None
    # Cut off in the middle of the cards, where there are many.
    cards = fits.Header.fromstring(head.decode("ascii", "replace"))
    return location if "/visit_image-" in str(cards.get("DATAMODL", "")) else None
