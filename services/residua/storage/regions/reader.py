"""Parts of visit images and templates, with the bits that reading the whole file gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from lsst.resources import ResourcePath

from residua.storage.conventions.flux import calibrate
from residua.storage.forms.mask_planes import archive_planes, remap
from residua.storage.read.flagging import scale_and_flag
from residua.storage.regions.byte_ranges import Counts
from residua.storage.regions.file_cache import FileCache
from residua.storage.regions.open_file import MASKS, OpenFile, PixelBox, UnknownFormError

__all__ = ["RegionFiles", "RegionImage", "RegionPlanes"]


@dataclass(frozen=True)
class RegionPlanes:
    """The planes of a box, calibrated and flagged as `residua.storage.read.readers` does.

    Parameters
    ----------
    image, variance
        float32 (ny, nx).
    mask
        int32 (ny, nx), bits of `residua.subtraction.masks.MaskBit`.
    """

    image: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]


class RegionImage:
    """One file, read by parts; see `RegionFiles.open`."""

    def __init__(self, file: OpenFile, name: str, zero_point: float | None) -> None:
        self._file = file
        tree = file.tree
        self._masks = [n for n in MASKS if n in file.plane_names]
        if not {"IMAGE", "VARIANCE", "MASK"} <= file.plane_names or not isinstance(
            tree.get("image"), dict
        ):
            raise UnknownFormError
        self._scaling = _chebyshev(tree.get("photometric_scaling"))
        y0, x0 = tree["image"]["yx0"]
        ny, nx = file.plane("IMAGE").shape
        self._start = (int(y0), int(x0))
        center = None
        if self._scaling is not None:
            # At the same place as whole files take it.
            y, x = y0 + 0.5 * (ny - 1), x0 + 0.5 * (nx - 1)
            center = float(_evaluate(self._scaling, np.array([y]), np.array([x]))[0, 0])
        calibration = calibrate(
            tree["image"]["data"].get("unit"),
            file.primary,
            name,
            exposure_time=(tree.get("obs_info") or {}).get("exposure_time"),
            photometric_scaling=center,
            zero_point=zero_point,
        )
        self._factor = calibration.factor
        varies = self._scaling is not None and self._scaling.coefficients.size > 1
        self._varies = varies and calibration.scaling == center

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole image."""
        return self._file.plane("IMAGE").shape

    @property
    def tables_digest(self) -> str:
        """sha256 of the headers and tables of tiles: of other pixels, another."""
        return self._file.digest(("IMAGE", "VARIANCE", *self._masks))

    @property
    def contents_digest(self) -> str:
        """See `OpenFile.contents_digest`."""
        return self._file.contents_digest

    @cached_property
    def _planes_of_masks(self) -> list[tuple[str, dict[str, int]]]:
        return [(name, archive_planes(self._file.plane(name).header)) for name in self._masks]

    def read(self, box: PixelBox) -> RegionPlanes:
        """Read a box; only the tiles it touches are fetched and decoded.

        Parameters
        ----------
        box
            Rows and columns of the whole image, counted from 0; inside it.

        Raises
        ------
        ValueError
            The box is empty or leaves the image.
        residua.storage.regions.open_file.UnknownFormError
            A plane is not of a form that is read by parts.
        """
        rows, columns = box
        ny, nx = self.shape
        if not (0 <= rows.start < rows.stop <= ny and 0 <= columns.start < columns.stop <= nx):
            raise ValueError(
                f"the box {rows.start}:{rows.stop}, {columns.start}:{columns.stop} is empty or "
                f"leaves the image of {ny} x {nx} pixels"
            )
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.int32)
        for name, planes in self._planes_of_masks:
            mask |= remap(np.asarray(self._file.pixels(name, box), np.int32), planes)
        image, variance, mask, _ = scale_and_flag(
            self._file.pixels("IMAGE", box),
            self._file.pixels("VARIANCE", box),
            mask,
            self._factor_of(box),
        )
        return RegionPlanes(image, variance, mask)

    def _factor_of(self, box: PixelBox) -> float | npt.NDArray[np.float64]:
        if not self._varies or self._scaling is None:
            return self._factor
        rows, columns = box
        y0, x0 = self._start
        return _evaluate(
            self._scaling,
            np.arange(rows.start + y0, rows.stop + y0, dtype=np.float64),
            np.arange(columns.start + x0, columns.stop + x0, dtype=np.float64),
        )


class RegionFiles:
    """Files that are read by parts: their tables of contents and decoded tiles are kept.

    One of these serves all threads of a process.

    Parameters
    ----------
    files
        Share another's tables and tiles.
    zero_point
        AB magnitude of one unit of the image, for files that do not say.
    """

    def __init__(self, files: FileCache | None = None, zero_point: float | None = None) -> None:
        self._files = files or FileCache()
        self._zero_point = zero_point

    @property
    def counts(self) -> Counts:
        """What reading has taken so far."""
        return self._files.counts

    def open(self, location: ResourcePath) -> RegionImage:
        """Open a file as it is now.

        Parameters
        ----------
        location
            On a disk or in S3.

        Raises
        ------
        FileNotFoundError
            It is not there.
        residua.storage.regions.open_file.UnknownFormError
            It is no image of ``lsst.images`` with mask and variance, or of a form that is not
            read by parts: read it whole (`residua.storage.read.readers.read_image`).
        """
        file = self._files.get(location)
        if file is None:
            raise UnknownFormError(f"{location} cannot be read by parts")
        try:
            return RegionImage(file, str(location), self._zero_point)
        except (KeyError, TypeError) as e:
            raise UnknownFormError(f"{location} cannot be read by parts: {e!r}") from e


@dataclass(frozen=True)
class _Chebyshev:
    coefficients: npt.NDArray[np.float64]
    rows: tuple[float, float]
    columns: tuple[float, float]


def _chebyshev(field: Mapping[str, Any] | None) -> _Chebyshev | None:
    if field is None or "nJy" not in str(field.get("unit")):
        return None
    if field.get("field_type") != "CHEBYSHEV":
        raise UnknownFormError
    bounds = field["bounds"]
    y, x = bounds["y"], bounds["x"]
    return _Chebyshev(
        np.asarray(field["coefficients"]["data"], np.float64),
        (float(y["start"]), float(y["stop"])),
        (float(x["start"]), float(x["stop"])),
    )


def _evaluate(
    field: _Chebyshev, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    # Element by element, in the order of `lsst.images.fields.ChebyshevField.render`.
    return np.asarray(
        np.polynomial.chebyshev.chebgrid2d(
            _remapped(y, field.rows), _remapped(x, field.columns), field.coefficients
        )
    )


def _remapped(
    values: npt.NDArray[np.float64], ends: tuple[float, float]
) -> npt.NDArray[np.float64]:
    start, stop = ends
    size = stop - start
    return (values - (start + 0.5 * size - 0.5)) * (2.0 / size)
