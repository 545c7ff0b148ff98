"""``lsst.images`` archives written fast and reproducibly: own planes, own dates."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, override

import lsst.images  # noqa: F401 the package before its modules
import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images import Image, Mask, MaskSchema, MaskSerializationModel
from lsst.images.fits import FitsOpaqueMetadata, FitsOutputArchive, PrecompressedImage
from lsst.images.serialization import NumberType

__all__ = ["EPOCH", "PackedMask", "PlaneImage", "write_file"]

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00")
"""DATE of files whose observation has no known time."""


class PlaneImage(Image):
    """An image whose headers get a given FITS WCS.

    ``lsst.images`` asks AST for one, which writes a TPV projection as a bare TAN: wrong by
    arcseconds, and silently so.

    Parameters
    ----------
    array
        float32 (ny, nx).
    header_wcs
        WCS for the headers.
    **kwargs
        As for `lsst.images.Image`.
    """

    def __init__(self, array: npt.NDArray[np.float32], header_wcs: WCS, **kwargs: Any) -> None:
        super().__init__(array, **kwargs)
        self._header_wcs = header_wcs

    @property
    def fits_wcs(self) -> WCS:
        """The given WCS."""
        return self._header_wcs

    @override
    def view(self, **kwargs: Any) -> "PlaneImage":
        # The base class would come back as a plain Image.
        kept = {"unit": self.unit, "sky_projection": self.sky_projection, **kwargs}
        kept.setdefault("yx0", self.bbox.start)
        return PlaneImage(self.array, self._header_wcs, **kept)


class PackedMask(Mask):
    """A mask that is packed already, one bit of an int32 per plane.

    Spares the plane-by-plane packing of `lsst.images.Mask`, the slowest part of a write.

    Parameters
    ----------
    packed
        int32 (ny, nx); bit n is plane n of the schema.
    schema
        Planes, at most 31, dtype uint8.
    header_wcs
        WCS for the header.
    **kwargs
        As for `lsst.images.Mask`.
    """

    def __init__(
        self, packed: npt.NDArray[np.int32], schema: MaskSchema, header_wcs: WCS, **kwargs: Any
    ) -> None:
        # Only its shape is ever asked for.
        unpacked = np.broadcast_to(np.uint8(0), (*packed.shape, schema.mask_size))
        super().__init__(unpacked, schema=schema, **kwargs)
        self._packed = packed
        self._header_wcs = header_wcs

    @override
    def view(self, **kwargs: Any) -> "PackedMask":
        kept = {"sky_projection": self.sky_projection, **kwargs}
        kept.pop("schema", None)
        kept.setdefault("yx0", self.bbox.start)
        return PackedMask(self._packed, self.schema, self._header_wcs, **kept)

    @override
    def serialize(self, archive: Any, **kwargs: Any) -> Any:
        (planes,) = self.schema.split(np.int32)

        def update_header(header: fits.Header) -> None:
            header["LONGSTRN"] = ("OGIP 1.0", "The OGIP long string convention may be used")
            planes.update_header(header)
            header.update(self._header_wcs.to_header(relax=True))
            y0, x0 = self.bbox.start
            for axis, start in ((1, x0), (2, y0)):
                header[f"CTYPE{axis}A"] = "LINEAR"
                header[f"CRPIX{axis}A"] = 1.0
                header[f"CRVAL{axis}A"] = float(start)
                header[f"CUNIT{axis}A"] = "PIXEL"

        reference = archive.add_array(self._packed, update_header=update_header)
        return MaskSerializationModel.model_construct(
            data=[reference],
            yx0=list(self.bbox.start),
            planes=list(self.schema),
            dtype=NumberType.from_numpy(self.schema.dtype),
            sky_projection=None,
            metadata={},
        )


def write_file(
    obj: Any,
    path: Path,
    planes: Mapping[str, PrecompressedImage],
    update_header: Callable[[fits.Header], None],
    date: datetime,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write an ``lsst.images`` object with planes that are compressed already.

    Parameters
    ----------
    obj
        What to write.
    path
        Where; must not exist.
    planes
        Compressed planes by EXTNAME.
    update_header
        Called with the primary header.
    date
        UTC, for the ``DATE`` cards: the clock must not show in the bytes.
    metadata
        Flexible metadata of the archive.
    """
    opaque = FitsOpaqueMetadata(precompressed=dict(planes))
    # What astropy would gzip carries the time of day; the kernel's basis is small as it is.
    options = {"kernel/basis": None}
    with FitsOutputArchive.open(
        path,
        compression_options=options,
        opaque_metadata=opaque,
        update_header=update_header,
    ) as archive:
        archive.add_tree(archive.serialize_root(obj, metadata, None))
    _pin_dates(path, date)


def _pin_dates(path: Path, date: datetime) -> None:
    value = date.isoformat(timespec="milliseconds")
    card = f"DATE    = '{value}' / [UTC] of the observation's end".ljust(80)[:80]
    with fits.open(path, disable_image_compression=True) as hdus:
        headers = [(i["hdrLoc"], i["datLoc"]) for i in (h.fileinfo() for h in hdus)]
    with path.open("r+b") as stream:
        for begin, end in headers:
            stream.seek(begin)
            header = stream.read(end - begin)
            for match in re.finditer(rb"DATE    = ", header):
                if match.start() % 80 == 0:
                    stream.seek(begin + match.start())
                    stream.write(card.encode("ascii"))
