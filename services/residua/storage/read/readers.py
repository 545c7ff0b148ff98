"""Read an image file of any supported kind from its bytes."""

import gzip
import io
import warnings

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from residua.errors import CorruptFileError, ResiduaError
from residua.instruments import InstrumentRegistry
from residua.storage.read.afw_layout import is_afw_layout, read_afw_layout
from residua.storage.read.contents import FileContents, ReadOptions
from residua.storage.read.lsst_images_files import is_lsst_images, read_lsst_images
from residua.storage.read.plain_fits import read_plain_fits

__all__ = ["read_image"]


def read_image(
    content: bytes,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions | None = None,
) -> FileContents:
    """Read an image, dispatching on what the file is and not on what it is called.

    Parameters
    ----------
    content
        The whole file.
    name
        What to call it in errors (its URI).
    instruments
        Known instruments.
    options
        Choices of the operator.

    Raises
    ------
    residua.errors.CorruptFileError
        Not FITS, truncated, or not readable as what it claims to be.
    residua.errors.ResiduaError
        Readable but of no use: no WCS, unknown unit, no finite pixel.
    """
    options = options or ReadOptions()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as e:
            raise CorruptFileError(f"{name} is a broken gzip file: {e}; send it again") from e
    if not content.startswith(b"SIMPLE  ="):
        raise CorruptFileError(
            f"{name} is not a FITS file: it begins with {content[:9]!r}", size_bytes=len(content)
        )
    with warnings.catch_warnings():
        # Other people's headers are full of small offences; what matters is checked here.
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
                _check_length(hdus, content, name)
                if is_lsst_images(hdus):
                    return read_lsst_images(hdus, content, name, instruments, options)
                if is_afw_layout(hdus):
                    return read_afw_layout(hdus, content, name, instruments, options)
                return read_plain_fits(hdus, name, instruments, options)
        except ResiduaError:
            raise
        except MemoryError:
            raise
        except Exception as e:
            # The parsers of damaged files raise whatever they trip over.
            raise CorruptFileError(
                f"{name} cannot be read: {type(e).__name__}: {e}; write or send it again",
                size_bytes=len(content),
            ) from e


def _check_length(hdus: fits.HDUList, content: bytes, name: str) -> None:
    info = hdus[-1].fileinfo()
    needed = info["datLoc"] + info["datSpan"]
    if needed > len(content):
        raise CorruptFileError(
            f"{name} is truncated: it has {len(content)} bytes of at least {needed}; send it again",
            size_bytes=len(content),
            needed_bytes=needed,
        )
    # astropy stops without a word at an extension whose header is cut short.
    if content[needed : needed + 8] == b"XTENSION":
        raise CorruptFileError(
            f"{name} is truncated or damaged after byte {needed}: an extension's header cannot "
            "be read; send it again",
            size_bytes=len(content),
            readable_bytes=needed,
        )
