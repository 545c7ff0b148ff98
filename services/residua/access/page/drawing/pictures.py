"""Pixels as PNG: tiles of a plane, mask planes in colours, stamps of detections, PSF and kernel."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from residua.access.dali.errors import NotFoundError
from residua.access.page.drawing.pixels import (
    Brightness,
    ImagePlanes,
    PlaneName,
    coarse,
    coarse_mask,
)

if TYPE_CHECKING:
    from residua.storage.regions.open_file import PixelBox

__all__ = [
    "MASK_COLORS",
    "TILE",
    "Stretch",
    "levels",
    "mask_tile",
    "stamp_strip",
    "stamps_over_the_field",
    "tile",
]

type Stretch = Literal["asinh", "linear", "sqrt", "log"]

TILE = 512
"""Pixels of a tile, a side."""

_GREYS = 250
_NO_DATA = 251
_OUTSIDE = 252

MASK_COLORS: Mapping[str, tuple[int, int, int]] = {
    "BAD": (214, 39, 40),
    "SATURATED": (255, 127, 14),
    "INTERPOLATED": (148, 103, 189),
    "COSMIC_RAY": (227, 119, 194),
    "DETECTION_EDGE": (127, 127, 127),
    "DETECTED": (44, 160, 44),
    "DETECTED_NEGATIVE": (31, 119, 180),
    "SUSPECT": (188, 189, 34),
    "NO_DATA": (140, 86, 75),
    "SAT_TEMPLATE": (255, 187, 120),
    "HIGH_VARIANCE": (23, 190, 207),
    "STREAK": (255, 215, 0),
    "CROSSTALK": (152, 223, 138),
}
"""Colours of mask planes by name; others are drawn in `_OTHER`."""

_OTHER = (200, 200, 200)
_OPACITY = 150
_STAMP_PIXELS = 31
_ENLARGED = 3


def levels(shape: tuple[int, int]) -> int:
    """Return the level at full resolution; at level 0 one tile holds the whole image."""
    level = 0
    while TILE << level < max(shape):
        level += 1
    return level


def tile(
    planes: ImagePlanes,
    name: PlaneName,
    place: tuple[int, int, int],
    stretch: Stretch,
    limit: float | None,
) -> bytes:
    """Draw a tile.

    Parameters
    ----------
    place
        Level, column and row of the tile, counted from the upper left: y runs up in the picture.
    limit
        Where white is, in sigma of the sky; `None` chooses.
    """
    level, column, row = place
    box, scale = _box(planes.shape, level, column, row)
    pixels = coarse(planes.pixels(name, box)[::-1], scale)
    # Means of n pixels have 1 / sqrt(n) of their noise; what is left is to be seen at any zoom.
    shrink = 1.0 / scale if name == "difference" else 1.0
    return _png(_stretched(pixels, name, planes.brightness(name), stretch, limit, shrink))


def mask_tile(planes: ImagePlanes, place: tuple[int, int, int], shown: Sequence[str]) -> bytes:
    """Draw the mask planes of these names; where several are set, the first given is seen."""
    level, column, row = place
    box, scale = _box(planes.shape, level, column, row)
    mask = coarse_mask(np.ascontiguousarray(planes.mask(box)[::-1]), scale)
    index = np.zeros(mask.shape, np.uint8)
    palette = [0, 0, 0]
    for number, name in reversed(list(enumerate(shown, start=1))):
        bit = planes.mask_bits.get(name)
        if bit is not None:
            index[(mask & np.int32(1 << bit)) != 0] = number
    for name in shown:
        palette += MASK_COLORS.get(name, _OTHER)
    picture = Image.fromarray(index)
    picture.putpalette(palette)
    out = io.BytesIO()
    opacity = bytes([0] + [_OPACITY] * len(shown))
    picture.save(out, format="PNG", compress_level=1, transparency=opacity)
    return out.getvalue()


def stamp_strip(planes: ImagePlanes, x: float, y: float) -> bytes:
    """Draw what lies around a place on every plane, side by side."""
    half = _STAMP_PIXELS // 2
    cx, cy = round(x), round(y)
    ny, nx = planes.shape
    if not (0 <= cx < nx and 0 <= cy < ny):
        raise NotFoundError(f"({x:g}, {y:g}) lies off the image")
    y0, y1, x0, x1 = max(0, cy - half), min(ny, cy + half + 1), max(0, cx - half), 0
    x1 = min(nx, cx + half + 1)
    parts = []
    for name in planes.names:
        pixels = planes.pixels(name, (slice(y0, y1), slice(x0, x1)))
        found = np.full((_STAMP_PIXELS, _STAMP_PIXELS), _OUTSIDE, np.uint8)
        near = _near(planes.brightness(name), pixels, name)
        inside = np.s_[y0 - cy + half : y1 - cy + half, x0 - cx + half : x1 - cx + half]
        found[inside] = _stretched(pixels, name, near, "asinh", None, 1.0)
        parts += [found[::-1], np.full((_STAMP_PIXELS, 1), _OUTSIDE, np.uint8)]
    strip = np.concatenate(parts[:-1], axis=1)
    return _png(_enlarged(strip, _ENLARGED))


def stamps_over_the_field(stamps: Sequence[Sequence[npt.NDArray[np.floating]]]) -> bytes:
    """Draw a grid of stamps (PSF, kernel), rows from the top of the image down; one scale."""
    every = np.array([[np.asarray(s, np.float64) for s in row] for row in stamps])
    peak = float(np.nanmax(np.abs(every))) or 1.0
    # The wings of a PSF are a thousandth of its peak.
    scaled = np.arcsinh(every / peak * 100.0) / np.arcsinh(100.0)
    low = min(0.0, float(np.nanmin(scaled)))
    grey = ((scaled - low) / (1.0 - low) * (_GREYS - 1)).clip(0, _GREYS - 1).astype(np.uint8)
    rows = [
        np.concatenate([np.pad(s[::-1], 1, constant_values=_OUTSIDE) for s in row], axis=1)
        for row in grey
    ]
    picture = np.concatenate(rows, axis=0)
    return _png(_enlarged(picture, max(1, round(360 / picture.shape[1]))))


def _enlarged(index: npt.NDArray[np.uint8], times: int) -> npt.NDArray[np.uint8]:
    return index.repeat(times, axis=0).repeat(times, axis=1)


def _near(brightness: Brightness, pixels: npt.NDArray[np.float32], name: str) -> Brightness:
    """Let a stamp's own peak be white."""
    if name == "difference" or not np.isfinite(pixels).any():
        return brightness
    top = max(float(np.nanmax(pixels)), brightness.sky + 10.0 * brightness.sigma)
    return Brightness(brightness.sky, brightness.sigma, top)


def _box(shape: tuple[int, int], level: int, column: int, row: int) -> "tuple[PixelBox, int]":
    deepest = levels(shape)
    ny, nx = shape
    scale = 1 << (deepest - level) if 0 <= level <= deepest else 0
    left, top = column * TILE * scale, row * TILE * scale
    if not scale or min(column, row) < 0 or left >= nx or top >= ny:
        raise NotFoundError(f"there is no tile {column}, {row} at level {level}")
    right, bottom = min(nx, left + TILE * scale), min(ny, top + TILE * scale)
    return (slice(ny - bottom, ny - top), slice(left, right)), scale


def _stretched(
    pixels: npt.NDArray[np.float32],
    name: PlaneName,
    b: Brightness,
    stretch: Stretch,
    limit: float | None,
    shrink: float,
) -> npt.NDArray[np.uint8]:
    with np.errstate(invalid="ignore"):
        if name == "difference":
            # Around zero, both signs alike; the stretch lets faint and bright be seen at once.
            value = pixels / (b.sigma * shrink)
            end = limit or (5.0 if stretch == "linear" else 30.0)
            scaled = 0.5 + 0.5 * np.sign(value) * _curve(np.abs(value), stretch) / _curve(
                np.float64(end), stretch
            )
        else:
            value = (pixels - b.sky) / b.sigma
            end = limit or (b.top - b.sky) / b.sigma
            low = -2.0
            scaled = _curve(value - low, stretch) / _curve(np.float64(end - low), stretch)
        grey = np.clip(scaled, 0.0, 1.0) * (_GREYS - 1)
    return np.where(np.isfinite(pixels), np.nan_to_num(grey), _NO_DATA).astype(np.uint8)


def _curve(value: Any, stretch: Stretch) -> Any:
    """Return 0 at 0, rising; ``value`` in sigma."""
    match stretch:
        case "linear":
            return value
        case "sqrt":
            return np.sqrt(np.maximum(value, 0.0))
        case "log":
            return np.log1p(np.maximum(value, 0.0))
        case "asinh":
            return np.arcsinh(value / 3.0)


def _png(index: npt.NDArray[np.uint8]) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(index))
    colors = [(round(n * 255 / (_GREYS - 1)),) * 3 for n in range(_GREYS)]
    colors += [(0, 0, 0)] * (256 - _GREYS)
    colors[_NO_DATA] = (70, 24, 28)
    colors[_OUTSIDE] = (24, 26, 32)
    picture.putpalette([value for color in colors for value in color])
    out = io.BytesIO()
    # Noise hardly compresses: more effort would cost time and save little.
    picture.save(out, format="PNG", compress_level=1)
    return out.getvalue()
