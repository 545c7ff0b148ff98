"""A plain FITS image before its pixels are decoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astropy.io.fits import Header
from astropy.wcs import WCS

from residua.instruments import Instrument
from residua.storage.conventions.flux import Calibration
from residua.storage.conventions.plane_roles import Plane
from residua.storage.read.file_contents import ReadOptions
from residua.storage.read.metadata import FileMetadata

__all__ = ["PlainImage"]


@dataclass(frozen=True)
class PlainImage:
    """A plain FITS image whose headers have been read."""

    name: str
    hdu: Any
    header: Header
    wcs: WCS
    metadata: FileMetadata
    calibration: Calibration
    instrument: Instrument
    options: ReadOptions
    planes: Sequence[Plane]
    companions: Mapping[str, bytes]
