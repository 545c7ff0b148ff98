"""Files in the layout of afw (Data Preview 1): IMAGE, MASK with ``MP_`` cards, VARIANCE."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from astropy.io import fits

from residua.errors import CorruptFileError
from residua.instruments import InstrumentRegistry
from residua.storage.conventions.celestial import celestial_wcs
from residua.storage.conventions.file_identity import UNDESCRIBED
from residua.storage.conventions.flux import calibrate
from residua.storage.forms.mask_planes import afw_planes, remap
from residua.storage.read.file_contents import FileContents, PixelReport, ReadOptions
from residua.storage.read.header_metadata import metadata_from_header
from residua.storage.read.opened import ImageFile

__all__ = ["is_afw_layout", "open_afw_layout"]


_PLANES = ("IMAGE", "MASK", "VARIANCE")


def afw_planes_of(hdus: fits.HDUList) -> dict[str, Any]:
    """Return the extensions by their names, or by ``EXTTYPE`` where afw left the names out."""
    found: dict[str, Any] = {}
    for hdu in hdus:
        for name in (hdu.name, str(hdu.header.get("EXTTYPE", "")).strip()):
            if name in _PLANES:
                found.setdefault(name, hdu)
    return found


def is_afw_layout(hdus: fits.HDUList) -> bool:
    """Whether a file has the three planes and afw's mask cards."""
    planes = afw_planes_of(hdus)
    return len(planes) == 3 and any(k.startswith("MP_") for k in planes["MASK"].header)


def open_afw_layout(
    hdus: fits.HDUList,
    content: bytes,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions,
) -> ImageFile:
    """Open a DP1-style exposure without afw.

    The WCS is the FITS one of the IMAGE extension (TAN-SIP; afw's own exact mapping is not
    read), the calibration ``BUNIT`` (nJy in DP1) or a zero-point card, mask planes get their
    ``lsst.images`` names. The PSF of the archive tables is not read: it is measured from the
    stars.

    Raises
    ------
    residua.errors.CorruptFileError
        A plane is no image.
    residua.errors.NoWcsError, residua.errors.UnknownUnitError
        See their messages.
    """
    planes = afw_planes_of(hdus)
    if any(len(h.shape) != 2 for h in planes.values()):
        raise CorruptFileError(f"{name} has an IMAGE, MASK or VARIANCE extension that is no image")
    image = planes["IMAGE"]
    header = hdus[0].header.copy()
    header.update(image.header)
    sized = image.header.copy()
    sized["NAXIS"], sized["NAXIS1"], sized["NAXIS2"] = 2, image.shape[1], image.shape[0]
    wcs, notes = celestial_wcs(sized, name, hdus)
    metadata = metadata_from_header(
        header,
        instruments,
        visit_from=options.visit_from,
        detector_from=options.detector_from,
    )
    calibration = calibrate(
        header.get("BUNIT"),
        header,
        name,
        instrument=instruments.get(metadata.instrument or UNDESCRIBED),
        band=options.band or metadata.band,
        exposure_time=metadata.exposure_time,
        zero_point=options.zero_point,
    )

    def decode() -> FileContents:
        from residua.storage.forms.decode import PlaneReader
        from residua.storage.read.flagging import finish

        with ThreadPoolExecutor(options.threads) as pool:
            reader = PlaneReader(hdus, content, pool)
            pixels, noise, bits = (
                reader.read(hdus.index_of(planes[n])) for n in ("IMAGE", "VARIANCE", "MASK")
            )
        mask = remap(bits, afw_planes(planes["MASK"].header))
        finished = finish(pixels, noise, mask, calibration.factor, name)
        return FileContents(
            *finished,
            wcs=wcs,
            psf=None,
            unit=calibration.unit,
            metadata=metadata,
            photometric_scaling=calibration.scaling,
            native_unit=calibration.native_unit,
            report=PixelReport(variance_source="VARIANCE", mask_source="MASK"),
        )

    shape = (int(image.shape[0]), int(image.shape[1]))
    return ImageFile(
        name, "afw", shape, wcs, metadata, calibration, lambda: None, decode, notes, header
    )
