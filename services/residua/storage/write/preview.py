"""The preview: science, matched template and difference side by side, as a small PNG."""

import io
import math
from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from residua.ports import VisitImage
from residua.subtraction.detections import Detection
from residua.subtraction.images import DifferenceImage
from residua.subtraction.masks import MaskBit

__all__ = ["preview_png"]

_MAX_WIDTH = 2000
_MIN_PANEL = 320
_GAP = 6
_BAR = 34
# A palette: greys, which text and stretched pixels share, then the colours.
_BACKGROUND = 16
_TEXT = 228
_GREYS = 240
_POSITIVE, _NEGATIVE, _NO_DATA = 250, 251, 252
_COLORS = {_POSITIVE: (255, 176, 0), _NEGATIVE: (90, 170, 255), _NO_DATA: (70, 24, 28)}
_MAX_CIRCLES = 200
# Of the asinh stretch: a power of two.
_STEPS = 256


def preview_png(visit_image: VisitImage, difference: DifferenceImage) -> bytes:
    """Draw the preview of a difference image; same input, same bytes.

    Science and template share an asinh stretch set by the science image's noise; the
    difference is linear within 5 sigma of its own noise. North is wherever the WCS has it:
    x runs right and y up. Detections are circled, positive amber and negative blue.

    Parameters
    ----------
    visit_image
        The visit image the difference was made of.
    difference
        The difference image.

    Returns
    -------
    png
        At most 2000 pixels wide.
    """
    ny, nx = difference.image.shape
    width = min((_MAX_WIDTH - 4 * _GAP) // 3, max(_MIN_PANEL, nx))
    height = max(1, round(width * ny / nx))
    science = _resize(visit_image.image.image, width, height)
    template = _resize(difference.matched_template, width, height)
    residual = _resize(difference.image, width, height)
    usable = (difference.mask & np.int32(MaskBit.NO_DATA)) == 0
    noise = _noise(difference.image[usable]) if usable.any() else 1.0
    panels = [
        ("science", _asinh(science)),
        ("matched template", _asinh(template, like=science)),
        ("difference", _linear(residual, 5.0 * noise * _shrink(nx, width))),
    ]
    canvas = Image.new("L", (3 * width + 4 * _GAP, height + 2 * _BAR + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=15)
    for n, (label, pixels) in enumerate(panels):
        left = _GAP + n * (width + _GAP)
        canvas.paste(Image.fromarray(pixels[::-1]), (left, _BAR))
        draw.text((left + 2, 8), label, fill=_TEXT, font=font)
    left = _GAP + 2 * (width + _GAP)
    _circles(draw, difference.detections, left, width, height, (ny, nx))
    draw.text(
        (_GAP + 2, _BAR + height + _GAP + 4),
        _caption(visit_image, difference),
        fill=_TEXT,
        font=font,
    )
    canvas.putpalette(_palette())
    out = io.BytesIO()
    # Noise hardly compresses: more effort would cost time and save little.
    canvas.save(out, format="PNG", compress_level=2)
    return out.getvalue()


def _caption(visit_image: VisitImage, difference: DifferenceImage) -> str:
    o, q = visit_image.observation, difference.quality
    seeing = difference.science_psf.fwhm() * visit_image.pixel_scale
    parts = [
        f"{o.instrument} visit {o.visit} detector {o.detector}",
        f"band {o.band}",
        f"day_obs {o.day_obs}",
        f'seeing {seeing:.2f}"',
    ]
    if np.isfinite(q.matched_filter_sn_std):
        parts.append(f"S/N std {q.matched_filter_sn_std:.3f}")
    parts.append(f"detections +{q.detections_positive} -{q.detections_negative}")
    return "   ".join(parts)


def _shrink(nx: int, width: int) -> float:
    # Averaging n pixels lowers white noise by sqrt(n).
    return min(1.0, width / nx)


def _resize(plane: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Means of blocks (or nearest pixels when enlarging), NaN where a block has no pixel."""
    ny, nx = plane.shape
    if width >= nx:
        rows = np.minimum((np.arange(height) + 0.5) * ny / height, ny - 1).astype(int)
        columns = np.minimum((np.arange(width) + 0.5) * nx / width, nx - 1).astype(int)
        return plane[np.ix_(rows, columns)]
    means = np.empty((height, width), np.float32)
    _block_means(np.ascontiguousarray(plane), means)
    return means


@numba.njit(nogil=True, cache=True)
def _block_means(plane: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    ny, nx = plane.shape
    height, width = out.shape
    for j in range(height):
        y0, y1 = j * ny // height, max((j + 1) * ny // height, j * ny // height + 1)
        for i in range(width):
            x0, x1 = i * nx // width, max((i + 1) * nx // width, i * nx // width + 1)
            total = np.float32(0.0)
            n = 0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    v = plane[y, x]
                    if np.isfinite(v):
                        total += v
                        n += 1
            out[j, i] = total / n if n else np.nan


def _palette() -> list[int]:
    colors = [(n, n, n) for n in range(256)]
    for index, color in _COLORS.items():
        colors[index] = color
    return [value for color in colors for value in color]


def _noise(values: npt.NDArray[np.float32]) -> float:
    sample = values[:: max(1, values.size // 200_000)]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 1.0
    sigma = 1.482602 * float(np.median(np.abs(sample - np.median(sample))))
    return sigma if sigma > 0.0 else 1.0


def _asinh(
    plane: npt.NDArray[np.float32], like: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.uint8]:
    reference = plane if like is None else like
    values = reference[np.isfinite(reference)]
    sky = float(np.median(values)) if values.size else 0.0
    sigma = _noise(values)
    top = max(float(np.percentile(values, 99.8)) if values.size else 1.0, sky + 20.0 * sigma)
    grey = np.empty(plane.shape, np.uint8)
    steps = _asinh_steps((top - sky) / (2.0 * sigma))
    _steps_reached((plane - sky) / (2.0 * sigma), steps, _GREYS - 1, _NO_DATA, grey)
    return grey


@numba.njit(nogil=True, cache=True)
def _steps_reached(
    values: npt.NDArray[np.float32],
    steps: npt.NDArray[np.float32],
    white: int,
    none: int,
    out: npt.NDArray[np.uint8],
) -> None:
    ny, nx = values.shape
    for j in range(ny):
        for i in range(nx):
            v = values[j, i]
            if not np.isfinite(v):
                out[j, i] = none
                continue
            reached, width = 0, steps.size // 2
            while width > 0:
                reached += width if v >= steps[reached + width - 1] else 0
                width //= 2
            reached += 1 if v >= steps[reached] else 0
            out[j, i] = reached * white // steps.size


def _asinh_steps(top: float) -> npt.NDArray[np.float32]:
    """Values at which asinh is one step further on its way from that of -1 to that of ``top``.

    The last bits of a library's asinh follow the CPU, and a grey with them: roots and products do
    not.
    """
    first, last = math.sqrt(2.0) - 1.0, top + math.sqrt(top * top + 1.0)
    ratio = last / first
    for _ in range(_STEPS.bit_length() - 1):
        ratio = math.sqrt(ratio)
    steps, exponential = [], first
    for _ in range(_STEPS):
        exponential *= ratio
        steps.append(0.5 * (exponential - 1.0 / exponential))
    return np.array(steps, np.float32)


def _linear(plane: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.uint8]:
    return _grey(0.5 + 0.5 * plane / limit, plane)


def _grey(
    values: npt.NDArray[np.floating], plane: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    with np.errstate(invalid="ignore"):
        scaled = np.clip(values, 0.0, 1.0) * (_GREYS - 1)
    return np.where(np.isfinite(plane), np.nan_to_num(scaled), _NO_DATA).astype(np.uint8)


def _circles(
    draw: ImageDraw.ImageDraw,
    detections: Sequence[Detection],
    left: int,
    width: int,
    height: int,
    shape: tuple[int, int],
) -> None:
    for detection in detections[:_MAX_CIRCLES]:
        x = left + (detection.x + 0.5) * width / shape[1]
        y = _BAR + height - (detection.y + 0.5) * height / shape[0]
        radius = max(7.0, 8.0 * width / shape[1])
        color = _POSITIVE if detection.signal_to_noise > 0.0 else _NEGATIVE
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=2)
