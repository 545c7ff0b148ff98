"""Archives of ``lsst.images``: VisitImage, DifferenceImage, MaskedImage and CellCoadd."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from residua.errors import CorruptFileError, NoWcsError
from residua.instruments import InstrumentRegistry
from residua.storage.conventions.flux import calibrate
from residua.storage.forms.mask_planes import archive_planes, remap
from residua.storage.forms.psf_models import psf_from_archive
from residua.storage.forms.wcs import wcs_from_projection
from residua.storage.read.file_contents import FileContents, PixelReport, ReadOptions
from residua.storage.read.header_metadata import metadata_from_header
from residua.storage.read.metadata import FileMetadata, metadata_from_obs_info
from residua.storage.read.opened import ImageFile
from residua.subtraction.images import PsfModel

if TYPE_CHECKING:
    from residua.storage.forms.decode import PlaneReader

__all__ = ["is_lsst_images", "open_lsst_images"]


def is_lsst_images(hdus: fits.HDUList) -> bool:
    """Whether a file is an ``lsst.images`` archive."""
    return "DATAMODL" in hdus[0].header


def open_lsst_images(
    hdus: fits.HDUList,
    content: bytes,
    name: str,
    instruments: InstrumentRegistry,
    options: ReadOptions,
) -> ImageFile:
    """Open an archive: components through ``lsst.images``, planes by `PlaneReader`.

    ``lsst.images`` repacks masks plane by plane, which takes longer than all the rest of a
    read; here the packed mask of the file is remapped at once.

    Raises
    ------
    residua.errors.CorruptFileError
        Truncated, or not an image with mask and variance.
    residua.errors.NoWcsError, residua.errors.UnknownUnitError
        See their messages.
    """
    index = hdus[0].header["INDXADDR"] + hdus[0].header["INDXSIZE"]
    if index > len(content):
        raise CorruptFileError(
            f"{name} is a truncated lsst.images archive: its index ends at byte {index} of "
            f"{len(content)}; send it again",
            size_bytes=len(content),
            needed_bytes=index,
        )
    # Half of the imports of a command that reads other files.
    import lsst.images  # noqa: F401 the package before its modules
    from lsst.images.serialization import open_archive

    from residua.storage.forms.pixel_grid_psf import pixel_grid_model

    with open_archive(io.BytesIO(content), format="fits") as archive:
        tree = archive.get_tree()
        if not all(hasattr(tree, n) for n in ("image", "mask", "variance")):
            raise CorruptFileError(
                f"{name} holds a {tree.SCHEMA_NAME}, not an image with mask and variance"
            )
        bbox = tree.bbox
        projection = archive.get_component("sky_projection")
        if projection is None:
            raise NoWcsError(f"{name} is an lsst.images archive without a sky projection")
        scaling = _scaling(archive, tree)
        metadata = _metadata(tree, projection, hdus[0].header, instruments)
        unit = tree.image.unit
    wcs = wcs_from_projection(projection, bbox)
    center = _center(scaling, bbox)
    calibration = calibrate(
        None if unit is None else unit.to_string(),
        hdus[0].header,
        name,
        exposure_time=metadata.exposure_time,
        photometric_scaling=center,
        zero_point=options.zero_point,
    )

    def read_psf() -> PsfModel | None:
        if not _has_psf(tree, hdus[0].header):
            return None
        if (ours := pixel_grid_model(tree.psf, hdus, bbox)) is not None:
            return ours
        with open_archive(io.BytesIO(content), format="fits") as archive:
            return psf_from_archive(archive.get_component("psf"), bbox)

    def decode() -> FileContents:
        from residua.storage.forms.decode import PlaneReader
        from residua.storage.read.flagging import finish

        factor: float | npt.NDArray[np.float64] = calibration.factor
        if scaling is not None and calibration.scaling == center and not scaling.is_constant:
            factor = np.asarray(scaling.render(bbox).array, np.float64)
        with ThreadPoolExecutor(options.threads) as pool:
            reader = PlaneReader(hdus, content, pool)
            pixels, variance = (reader.read(hdus.index_of(n)) for n in ("IMAGE", "VARIANCE"))
            mask = _mask(hdus, reader)
        planes = finish(pixels, variance, mask, factor, name)
        return FileContents(
            *planes,
            wcs=wcs,
            psf=image.psf,
            unit=calibration.unit,
            metadata=metadata,
            photometric_scaling=center if center is not None else calibration.scaling,
            native_unit=_native_unit(scaling) or calibration.native_unit,
            report=PixelReport(variance_source="VARIANCE", mask_source="MASK"),
        )

    shape = (int(bbox.shape[0]), int(bbox.shape[1]))
    image = ImageFile(
        name, "lsst.images", shape, wcs, metadata, calibration, read_psf, decode, (), hdus[0].header
    )
    return image


def _has_psf(tree: Any, header: fits.Header) -> bool:
    # A visit image must have a PSF; writers that know none say so (see `write_visit_image`).
    return getattr(tree, "psf", None) is not None and header.get("PSFMODEL") != "PLACEHOLDER"


def _mask(hdus: fits.HDUList, reader: "PlaneReader") -> npt.NDArray[np.int32]:
    # More than 31 planes fill a second extension.
    first, *more = (n for n, h in enumerate(hdus) if h.name == "MASK")
    mask = remap(reader.read(first), archive_planes(hdus[first].header))
    for n in more:
        mask |= remap(reader.read(n), archive_planes(hdus[n].header))
    return mask


def _scaling(archive: Any, tree: Any) -> Any:
    if getattr(tree, "photometric_scaling", None) is None:
        return None
    field = archive.get_component("photometric_scaling")
    unit = field.unit
    # What calibrates is nJy over a count unit; anything else is of no use here.
    return field if unit is not None and "nJy" in unit.to_string() else None


def _center(scaling: Any, bbox: Any) -> float | None:
    if scaling is None:
        return None
    x = 0.5 * (bbox.x.start + bbox.x.stop - 1)
    y = 0.5 * (bbox.y.start + bbox.y.stop - 1)
    return float(scaling(x=np.array([x]), y=np.array([y]))[0])


def _native_unit(scaling: Any) -> str | None:
    if scaling is None:
        return None
    return str((u.nJy / scaling.unit).to_string())


def _metadata(
    tree: Any, projection: Any, header: fits.Header, instruments: InstrumentRegistry
) -> FileMetadata:
    frame = projection.pixel_frame
    if getattr(tree, "obs_info", None) is not None:
        found = metadata_from_obs_info(
            tree.obs_info, getattr(tree, "band", None), getattr(frame, "detector", None)
        )
    else:
        found = metadata_from_header(header, instruments)
    values = {
        "visit": getattr(frame, "visit", None),
        "instrument": getattr(frame, "instrument", None),
        "detector": getattr(frame, "detector", None),
        "skymap": getattr(frame, "skymap", None),
        "tract": getattr(frame, "tract", None),
        "patch": getattr(getattr(tree, "patch", None), "id", None),
        "band": getattr(tree, "band", None),
    }
    return _filled(found, values)


def _filled(found: FileMetadata, values: dict[str, Any]) -> FileMetadata:
    missing = {k: v for k, v in values.items() if v is not None and getattr(found, k) is None}
    return replace(found, **missing)
