"""An image file as its headers have it: who it is, where it lies, what its units are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from astropy.io.fits import Header
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua.storage.conventions.flux import Calibration
from residua.storage.read.file_contents import FileContents
from residua.storage.read.metadata import FileMetadata
from residua.subtraction.images import PsfModel

__all__ = ["ImageFile"]


@dataclass(frozen=True)
class ImageFile:
    """One image file whose headers have been read; its pixels are decoded when asked for.

    Parameters
    ----------
    name
        What it is called in errors.
    kind
        ``plain FITS``, ``afw`` or ``lsst.images``.
    shape
        (ny, nx).
    wcs
        Celestial WCS, degrees.
    metadata
        What it says about its observation.
    calibration
        How its pixels become fluxes.
    read_psf
        Reads the PSF that came with it, if one did.
    decode
        Decodes, calibrates and flags the pixels.
    wcs_notes
        What was done to its WCS.
    header
        Its cards.
    unused
        Choices of the operator that such a file has no use for.
    """

    name: str
    kind: str
    shape: tuple[int, int]
    wcs: BaseLowLevelWCS
    metadata: FileMetadata
    calibration: Calibration
    read_psf: Callable[[], PsfModel | None]
    decode: Callable[[], FileContents]
    wcs_notes: tuple[str, ...] = ()
    header: Header | None = None
    unused: tuple[str, ...] = ()

    @cached_property
    def psf(self) -> PsfModel | None:
        """The PSF that came with it, read when it is asked for."""
        return self.read_psf()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the headers left to be assumed."""
        return (*self.metadata.notes, *self.calibration.notes, *self.wcs_notes, *self.unused)
