"""Read an image file of any supported kind from its bytes."""

import gzip
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from residua.errors import CorruptFileError, ResiduaError, UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.storage.read.afw_layout import is_afw_layout, open_afw_layout
from residua.storage.read.file_contents import FileContents, ReadOptions
from residua.storage.read.lsst_images_files import is_lsst_images, open_lsst_images
from residua.storage.read.opened import ImageFile
from residua.storage.read.plain.plain_fits import open_plain_fits

__all__ = ["MOST_PIXELS", "open_image", "read_image", "refuse_too_large"]

MOST_PIXELS = 200_000_000
"""Pixels of the largest image that is read."""

_BYTES_A_PIXEL = 80

_OF_PLANES = ("gain", "saturation", "bad_bits")
"""Options that make planes for files that have none."""
_FLAGS = {"extension": "ext"}
"""What commands call them, where that is another name."""

_OTHER_FORMATS = {
    b"BZh": "bzip2: unpack it first (bunzip2)",
    b"\xfd7zXZ": "xz: unpack it first (unxz)",
    b"PK\x03\x04": "zip: unpack it first",
    b"#ASDF": "ASDF: write the image as FITS",
    b"\x89HDF": "HDF5: write the image as FITS",
    b"XISF0100": "XISF: save it as FITS",
}


def read_image(
    content: bytes,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions | None = None,
    companions: Mapping[str, bytes] | None = None,
) -> FileContents:
    """Read an image: `open_image`, then its pixels.

    Raises
    ------
    residua.errors.ResiduaError
        As `open_image`, or no finite pixel.
    """
    image = open_image(content, name, instruments, options, companions)
    refuse_too_large(image)
    with _errors_of(content, name):
        return replace(image.decode(), header_notes=image.notes)


def refuse_too_large(image: ImageFile) -> None:
    """Check that an image can be subtracted in a known memory.

    Raises
    ------
    residua.errors.UnusableImageError
        It has more than `MOST_PIXELS`.
    """
    pixels = image.shape[0] * image.shape[1]
    if pixels > MOST_PIXELS:
        raise UnusableImageError(
            f"{image.name} has {image.shape[1]} x {image.shape[0]} pixels: to subtract it would "
            f"take some {pixels * _BYTES_A_PIXEL / 1e9:.0f} GB of memory; the largest image has "
            f"{MOST_PIXELS / 1e6:.0f} million pixels. Cut it into parts",
            pixels=pixels,
            most=MOST_PIXELS,
        )


def open_image(
    content: bytes,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions | None = None,
    companions: Mapping[str, bytes] | None = None,
) -> ImageFile:
    """Open an image, dispatching on what the file is and not on what it is called.

    Headers are read; no pixel is decoded before `ImageFile.decode` is called.

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
    companions
        Files that lie beside it, whole: ``variance``, ``weight``, ``mask``.

    Raises
    ------
    residua.errors.CorruptFileError
        Not FITS, truncated, or not readable as what it claims to be.
    residua.errors.ResiduaError
        Readable but of no use: no WCS, unknown unit.
    """
    options = options or ReadOptions()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as e:
            raise CorruptFileError(f"{name} is a broken gzip file: {e}; send it again") from e
    if not content.startswith(b"SIMPLE  ="):
        raise CorruptFileError(
            f"{name} is not a FITS file: it begins with {content[:9]!r}{_remedy(content)}",
            size_bytes=len(content),
        )
    with _errors_of(content, name):
        # Headers of compressed planes as they stand: to rewrite them takes most of an opening.
        hdus = fits.open(
            io.BytesIO(content),
            memmap=False,
            lazy_load_hdus=True,
            disable_image_compression=True,
        )
        if is_lsst_images(hdus):
            # Its own index tells where it ends: no further header is needed to open it.
            return _with_unused(
                open_lsst_images(hdus, content, name, instruments, options),
                options, companions or {}, ("extension", "visit_from", "detector_from"),
            )  # fmt: skip
        _check_length(hdus, content, name)
        if any("ZIMAGE" in hdu.header for hdu in hdus):
            hdus = fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False)
        if is_afw_layout(hdus) and not companions and options.extension is None:
            return _with_unused(
                open_afw_layout(hdus, content, name, instruments, options), options, {}
            )
        return open_plain_fits(hdus, name, instruments, options, companions or {})


def _with_unused(
    image: ImageFile,
    options: ReadOptions,
    companions: Mapping[str, bytes],
    others: tuple[str, ...] = (),
) -> ImageFile:
    """Say which choices change nothing, in a file that has planes of its own."""
    given = [n for n in (*_OF_PLANES, *others) if getattr(options, n) is not None]
    given += sorted(companions)
    if not given:
        return image
    names = ", ".join(f"--{_FLAGS.get(n, n).replace('_', '-')}" for n in given)
    note = f"{names} not used: a file of {image.kind} has its own planes, mask and identity"
    return replace(image, unused=(note,))


@contextmanager
def _errors_of(content: bytes, name: str) -> Iterator[None]:
    with warnings.catch_warnings():
        # Other people's headers are full of small offences; what matters is checked here.
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            yield
        except (ResiduaError, MemoryError):
            raise
        except Exception as e:
            # The parsers of damaged files raise whatever they trip over.
            raise CorruptFileError(
                f"{name} cannot be read: {type(e).__name__}: {e}; write or send it again",
                size_bytes=len(content),
            ) from e


def _remedy(content: bytes) -> str:
    for start, remedy in _OTHER_FORMATS.items():
        if content.startswith(start):
            return f" ({remedy})"
    return ""


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
