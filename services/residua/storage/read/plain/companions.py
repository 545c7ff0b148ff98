"""Weight, variance and mask files that lie beside an image."""

import gzip
import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from residua.errors import CorruptFileError, UnusableImageError
from residua.storage.conventions.plane_roles import plane_shape

__all__ = ["companion_plane"]


def companion_plane(
    content: bytes, what: str, shape: tuple[int, int], image: Any
) -> tuple[npt.NDArray[Any], fits.Header]:
    """Return the plane of a companion file that belongs to an image, and its header.

    Of several extensions the one named like the image's is taken, else the one of its detector
    (``CCDNUM``), else the only one of its shape.

    Parameters
    ----------
    content
        The whole file.
    what
        What it is: weight, variance or mask.
    shape
        (ny, nx) of the image.
    image
        Extension of the image.

    Raises
    ------
    residua.errors.CorruptFileError
        Not FITS.
    residua.errors.UnusableImageError
        No plane of the image's shape, or several.
    """
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                return _plane(hdus, what, shape, image)
        except UnusableImageError:
            raise
        except Exception as e:
            raise CorruptFileError(
                f"the {what} file cannot be read: {type(e).__name__}; send it again",
                size_bytes=len(content),
            ) from e


def _plane(
    hdus: fits.HDUList, what: str, shape: tuple[int, int], image: Any
) -> tuple[npt.NDArray[Any], fits.Header]:
    found = [h for h in hdus if plane_shape(h) == shape]
    if len(found) > 1:
        named = [h for h in found if h.name and h.name == image.name]
        number = image.header.get("CCDNUM")
        same = [h for h in found if number is not None and h.header.get("CCDNUM") == number]
        found = named if len(named) == 1 else same if len(same) == 1 else found
    if len(found) != 1:
        shapes = [plane_shape(h) for h in hdus if plane_shape(h) is not None]
        raise UnusableImageError(
            f"the {what} file has {len(found)} planes of the image's shape {shape} (its planes: "
            f"{shapes[:5]}); give the one that belongs to the image",
            planes=len(found),
        )
    data = np.asarray(found[0].data)
    return data.reshape(shape), found[0].header
