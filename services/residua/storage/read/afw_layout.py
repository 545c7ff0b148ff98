"""Files in the layout of afw (Data Preview 1): IMAGE, MASK with ``MP_`` cards, VARIANCE."""

from concurrent.futures import ThreadPoolExecutor

from astropy.io import fits

from residua.errors import CorruptFileError
from residua.instruments import InstrumentRegistry
from residua.storage.forms.calibration import calibrate
from residua.storage.forms.decode import PlaneReader
from residua.storage.forms.mask_planes import afw_planes, remap
from residua.storage.forms.wcs import wcs_from_header
from residua.storage.read.contents import FileContents, ReadOptions, finish
from residua.storage.read.header_metadata import metadata_from_header

__all__ = ["is_afw_layout", "read_afw_layout"]


def is_afw_layout(hdus: fits.HDUList) -> bool:
    """Whether a file has the three planes and afw's mask cards."""
    names = {h.name for h in hdus}
    return {"IMAGE", "MASK", "VARIANCE"} <= names and any(
        k.startswith("MP_") for k in hdus["MASK"].header
    )


def read_afw_layout(
    hdus: fits.HDUList,
    content: bytes,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions,
) -> FileContents:
    """Read a DP1-style exposure without afw.

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
    image, mask, variance = (hdus[n] for n in ("IMAGE", "MASK", "VARIANCE"))
    if any(len(h.shape) != 2 for h in (image, mask, variance)):
        raise CorruptFileError(f"{name} has an IMAGE, MASK or VARIANCE extension that is no image")
    header = hdus[0].header.copy()
    header.update(image.header)
    sized = image.header.copy()
    sized["NAXIS"], sized["NAXIS1"], sized["NAXIS2"] = 2, image.shape[1], image.shape[0]
    wcs = wcs_from_header(sized, name)
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
        exposure_time=metadata.exposure_time,
        zero_point=options.zero_point,
    )
    with ThreadPoolExecutor(options.threads) as pool:
        reader = PlaneReader(hdus, content, pool)
        pixels, noise, bits = (reader.read(hdus.index_of(n)) for n in ("IMAGE", "VARIANCE", "MASK"))
    planes = finish(pixels, noise, remap(bits, afw_planes(mask.header)), calibration.factor, name)
    return FileContents(
        *planes,
        wcs=wcs,
        psf=None,
        unit=calibration.unit,
        metadata=metadata,
        photometric_scaling=calibration.scaling,
        native_unit=calibration.native_unit,
    )
