"""The planes of one image as people look at them: pixels of a box, at a scale, and how bright."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from residua.access.dali.errors import NotFoundError
from residua.errors import ResiduaError

if TYPE_CHECKING:
    # At run time they load astropy and numba, for which the service would wait to start.
    from residua.storage.regions.open_file import OpenFile, PixelBox

__all__ = [
    "Brightness",
    "ImagePlanes",
    "PlaneCache",
    "PlaneName",
    "Science",
    "WholeNeededError",
    "coarse",
    "coarse_mask",
    "open_science",
]

type PlaneName = Literal["science", "template", "difference"]
type Pixels = npt.NDArray[np.float32]

# Four of LSSTCam's detectors.
_KEPT_BYTES = 1 << 28
_KEPT_BRIGHTNESS = 1000
# A sample of this many boxes a side tells how bright the sky is.
_SAMPLES = 6
_SAMPLE_PIXELS = 48
_MAD_TO_SIGMA = 1.482602


class WholeNeededError(Exception):
    """More is asked of an image that is not stored than its parts: make the whole."""


@dataclass(frozen=True)
class Brightness:
    """How bright the sky of a plane is, in its unit.

    Parameters
    ----------
    sky, sigma
        Median, and its robust standard deviation.
    top
        What few pixels exceed.
    """

    sky: float
    sigma: float
    top: float


@dataclass(frozen=True)
class Science:
    """The visit image.

    Parameters
    ----------
    pixels
        Returns those of a box.
    """

    pixels: "Callable[[PixelBox], Pixels]"


@dataclass
class PlaneCache:
    """Visit images that can only be decoded whole, and how bright images are; used last, kept.

    Parameters
    ----------
    limit
        Most bytes of visit images.
    """

    limit: int = _KEPT_BYTES
    _science: OrderedDict[str, Pixels] = field(default_factory=OrderedDict)
    _brightness: OrderedDict[str, dict[str, Brightness]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def science(self, key: str, read: Callable[[], Pixels]) -> Pixels:
        """Return a visit image, read once for all who ask for it meanwhile."""
        with self._lock:
            plane = self._science.get(key)
            if plane is None:
                plane = self._science[key] = read()
                while len(self._science) > 1 and self._size() > self.limit:
                    self._science.popitem(last=False)
            self._science.move_to_end(key)
            return plane

    def brightness(self, key: str) -> dict[str, Brightness]:
        """Return what was measured of an image, to be added to."""
        with self._lock:
            found = self._brightness.setdefault(key, {})
            self._brightness.move_to_end(key)
            while len(self._brightness) > _KEPT_BRIGHTNESS:
                self._brightness.popitem(last=False)
            return found

    def _size(self) -> int:
        return sum(plane.nbytes for plane in self._science.values())


@dataclass
class ImagePlanes:
    """A difference image, and the visit image it was made of if it can be had.

    Parameters
    ----------
    file
        The difference image.
    science
        `None` where there is no visit image on the same pixels and in the same unit.
    measured
        How bright its planes are, as far as somebody asked.
    largest
        Most pixels of the difference image in one box, where it is made for it.
    samples
        Boxes a side that tell how bright a plane is.
    """

    file: "OpenFile"
    science: Science | None = None
    measured: dict[str, Brightness] = field(default_factory=dict)
    largest: int | None = None
    samples: int = _SAMPLES

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.file.plane("IMAGE").shape

    @property
    def names(self) -> tuple[PlaneName, ...]:
        """Planes that can be had."""
        return ("difference",) if self.science is None else ("science", "template", "difference")

    @cached_property
    def mask_bits(self) -> Mapping[str, int]:
        """Bits of the mask by the names of its planes."""
        from residua.storage.forms.mask_planes import archive_planes

        return archive_planes(self.file.plane("MASK").header)

    def pixels(self, name: PlaneName, box: "PixelBox") -> Pixels:
        """Return a part of a plane; raises `WholeNeededError` where it is too large a part.

        The matched template is the visit image less the difference: what was taken away, with
        the noise that the decorrelation moved from one to the other.
        """
        if name not in self.names:
            raise NotFoundError(f"there is no {name} plane to be had")
        if name == "science":
            assert self.science is not None
            return self.science.pixels(box)
        difference = self._made("IMAGE", box).astype(np.float32)
        if name == "difference":
            return difference
        assert self.science is not None
        return self.science.pixels(box) - difference

    def mask(self, box: "PixelBox") -> npt.NDArray[np.int32]:
        """Return a part of the mask; raises as `pixels`."""
        return self._made("MASK", box).astype(np.int32)

    def _made(self, name: str, box: "PixelBox") -> npt.NDArray[Any]:
        rows, columns = box
        number = (rows.stop - rows.start) * (columns.stop - columns.start)
        if self.largest is not None and number > self.largest:
            raise WholeNeededError
        return self.file.pixels(name, box)

    def brightness(self, name: PlaneName) -> Brightness:
        """Return how bright a plane is; science and template share one, to be compared."""
        which: PlaneName = "science" if name == "template" else name
        if which not in self.measured:
            self.measured[which] = self._measured(which)
        return self.measured[which]

    def _measured(self, name: PlaneName) -> Brightness:
        ny, nx = self.shape
        parts = []
        for y in _starts(ny, self.samples):
            for x in _starts(nx, self.samples):
                box = (
                    slice(y, min(ny, y + _SAMPLE_PIXELS)),
                    slice(x, min(nx, x + _SAMPLE_PIXELS)),
                )
                parts.append(self.pixels(name, box).ravel())
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]
        if not values.size:
            return Brightness(0.0, 1.0, 20.0)
        sky = float(np.median(values))
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - sky))) or 1.0
        return Brightness(sky, sigma, max(float(np.percentile(values, 99.5)), sky + 20.0 * sigma))


def open_science(
    kept: PlaneCache,
    checksum: str,
    found: "OpenFile | None",
    difference: tuple[str, tuple[int, int]],
    read: Callable[[], tuple[Pixels, str]],
) -> Science | None:
    """Return the visit image, tile by tile where its form allows, else decoded whole.

    Parameters
    ----------
    checksum
        Of its file.
    found
        The file as the cutouts have it; `None` for another form.
    difference
        Unit and shape of the difference image.
    read
        Reads and calibrates the whole image; returns its pixels and unit.

    Returns
    -------
    science
        `None` if it cannot be read, or lies on other pixels or in another unit.
    """
    if found is not None:
        plane = found.plane("IMAGE")
        if (plane.header.get("BUNIT"), plane.shape) == difference:
            return Science(lambda box: found.pixels("IMAGE", box).astype(np.float32))

    def whole() -> Pixels:
        pixels, unit = read()
        if (unit, pixels.shape) != difference:
            raise NotFoundError("the visit image lies on other pixels, or in another unit")
        return pixels

    try:
        pixels = kept.science(checksum, whole)
    except (NotFoundError, ResiduaError, OSError):
        return None
    return Science(lambda box: pixels[box])


def coarse(pixels: Pixels, scale: int) -> Pixels:
    """Return means of blocks of ``scale`` pixels a side; NaN where a block has none."""
    if scale == 1:
        return pixels
    blocks = _blocks(pixels, scale, np.float32(np.nan))
    finite = np.isfinite(blocks)
    number = finite.sum(axis=(1, 3))
    total = np.where(finite, blocks, np.float32(0.0)).sum(axis=(1, 3), dtype=np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / number, np.nan).astype(np.float32)


def coarse_mask(mask: npt.NDArray[np.int32], scale: int) -> npt.NDArray[np.int32]:
    """Return what is set anywhere in blocks of ``scale`` pixels a side."""
    if scale == 1:
        return mask
    blocks = _blocks(mask, scale, np.int32(0))
    rows: Any = np.bitwise_or.reduce(blocks, axis=3)
    return np.asarray(np.bitwise_or.reduce(rows, axis=1), np.int32)


def _blocks(plane: npt.NDArray[Any], scale: int, filling: Any) -> npt.NDArray[Any]:
    ny, nx = plane.shape
    padding = ((0, -ny % scale), (0, -nx % scale))
    padded = np.pad(plane, padding, constant_values=filling)
    return padded.reshape(padded.shape[0] // scale, scale, padded.shape[1] // scale, scale)


def _starts(length: int, samples: int) -> list[int]:
    last = max(0, length - _SAMPLE_PIXELS)
    return sorted({round(last * (i + 0.5) / samples) for i in range(samples)})
