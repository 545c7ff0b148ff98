"""What a reader hands on: the planes of one file and what it says about itself."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua.storage.read.metadata import FileMetadata
from residua.subtraction.images import PsfModel
from residua_schemas import ImageReading

__all__ = ["FileContents", "PixelReport", "ReadOptions"]


@dataclass(frozen=True)
class ReadOptions:
    """Choices of the operator that change how files are read.

    Parameters
    ----------
    zero_point
        AB magnitude of one unit of the image, for files that do not say.
    threads
        Threads to decompress in; they do not change a bit.
    visit_from, detector_from
        Cards of the identity, see `residua.storage.conventions.file_identity`.
    extension
        Name or number of the extension that holds the image.
    gain
        Electrons per count.
    saturation
        Pixel value from which on pixels are saturated.
    band
        Band of the image, for zero points in Vega magnitudes.
    bad_bits
        Bits of the mask that make a pixel unusable.
    """

    zero_point: float | None = None
    threads: int = 1
    visit_from: str | None = None
    detector_from: str | None = None
    extension: str | None = None
    gain: float | None = None
    saturation: float | None = None
    band: str | None = None
    bad_bits: int | None = None

    def as_read(self, reading: ImageReading | None) -> "ReadOptions":
        """Return these options with what an event says of its file."""
        if reading is None:
            return self
        own = {f.name for f in fields(self)}
        asked = {name: getattr(reading, name) for name in ImageReading.model_fields if name in own}
        return replace(self, **{name: value for name, value in asked.items() if value is not None})


@dataclass(frozen=True)
class PixelReport:
    """What the pixels of a file were found to be.

    Parameters
    ----------
    gain, gain_source
        Electrons per count, and the card it comes from.
    variance_source, mask_source
        The planes, files or cards the noise and the mask come from.
    saturation
        The card and the value from which on pixels are saturated.
    predicted_noise, measured_noise
        Of one pixel of the sky, in the unit of the image.
    noise_ratio
        Measured over predicted variance, see `residua.storage.conventions.noise`.
    sky, sky_subtracted
        Its level in the file's unit, and whether it was taken away.
    notes
        What was assumed, or found and not used.
    """

    gain: float | None = None
    gain_source: str = ""
    variance_source: str = ""
    mask_source: str = ""
    saturation: str = ""
    predicted_noise: float = float("nan")
    measured_noise: float = float("nan")
    noise_ratio: float = float("nan")
    sky: float = float("nan")
    sky_subtracted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileContents:
    """One image file, calibrated if it can be.

    Parameters
    ----------
    image, variance, mask, wcs, psf, unit
        As in `residua.subtraction.images.ScienceImage`.
    metadata
        What the file says about its observation.
    photometric_scaling
        nJy per native unit, applied already; `None` if the image is in its own unit.
    native_unit
        Unit of the pixels as found.
    report
        What was found on the way, for people to read.
    header_notes
        What the headers left to be assumed, and choices that were not used: `ImageFile.notes`.
    """

    image: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]
    wcs: BaseLowLevelWCS
    psf: PsfModel | None
    unit: str
    metadata: FileMetadata
    photometric_scaling: float | None
    native_unit: str
    report: PixelReport = PixelReport()
    header_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, or found or given and not used."""
        return (*self.header_notes, *self.report.notes)
