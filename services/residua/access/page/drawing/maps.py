"""Maps as SVG: the focal plane by detector, the sky by footprint, coloured by a quantity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from residua.instruments import Instrument

__all__ = ["ColorScale", "focal_plane", "sky_map"]

_WIDTH, _MARGIN = 560.0, 26.0
# Viridis, whose order is seen without colours too.
_COLORS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58",
    "#b5de2b", "#fde725",
)  # fmt: skip
_NONE = "#8a93a3"
# Within this of their middle, degrees, footprints are drawn on the tangent plane.
_TANGENT = 40.0
# Before the numbers of a footprint: POLYGON ICRS.
_WORDS = 2


@dataclass(frozen=True)
class ColorScale:
    """Colours from one value to another.

    Parameters
    ----------
    low, high
        Values of the first and the last colour; what lies beyond has theirs.
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "ColorScale":
        """Span all but the outermost twentieths."""
        finite = [v for v in values if math.isfinite(v)]
        if not finite:
            return cls(0.0, 1.0)
        low, high = (float(v) for v in np.percentile(finite, [5.0, 95.0]))
        return cls(low, high if high > low else low + 1e-9)

    def index(self, value: float) -> int | None:
        """Return the number of a value's colour; `None` for none."""
        if not math.isfinite(value):
            return None
        place = (value - self.low) / (self.high - self.low) * len(_COLORS)
        return int(min(max(place, 0.0), len(_COLORS) - 1))

    def color(self, value: float) -> str:
        """Return a value's colour."""
        index = self.index(value)
        return _NONE if index is None else _COLORS[index]


def focal_plane(
    values: Mapping[int, float], words: Mapping[int, str], instrument: Instrument | None, base: str
) -> str:
    """Draw the detectors where they lie in the focal plane, or in rows where nobody says.

    Parameters
    ----------
    values
        By detector; NaN for none.
    words
        What is said of each.
    base
        What addresses begin with; each detector leads to its list.
    """
    centers, width, height = _places(sorted(values), instrument)
    xs, ys = zip(*centers.values(), strict=True)
    x0, y0 = min(xs) - width / 2, min(ys) - height / 2
    span_x, span_y = max(xs) + width / 2 - x0, max(ys) + height / 2 - y0
    zoom = (_WIDTH - 2 * _MARGIN) / max(span_x, span_y)
    tall = span_y * zoom + 2 * _MARGIN
    scale = ColorScale.of(list(values.values()))
    parts = [_opening(_WIDTH, tall, "Focal plane, a field for each detector")]
    for detector, (x, y) in centers.items():
        left = _MARGIN + (x - width / 2 - x0) * zoom + (_WIDTH - 2 * _MARGIN - span_x * zoom) / 2
        top = tall - _MARGIN - (y + height / 2 - y0) * zoom
        label = escape(f"detector {detector}: {words[detector]}")
        parts.append(
            f'<a href="{base}?detector={detector}" aria-label="{label}"><rect '
            f'x="{left:.1f}" y="{top:.1f}" '
            f'width="{width * zoom * 0.94:.1f}" height="{height * zoom * 0.94:.1f}" rx="2" '
            f'fill="{scale.color(values[detector])}"><title>{label}</title></rect></a>'
        )
    return "".join([*parts, "</svg>"])


def sky_map(regions: Sequence[str], values: Sequence[float]) -> str:
    """Draw footprints, ``POLYGON ICRS ra dec ...``; east is to the left.

    One path for each colour: ten thousand footprints are ten elements.
    """
    known = [
        (region.split()[_WORDS:], value)
        for region, value in zip(regions, values, strict=True)
        if region and region.startswith("POLYGON ICRS ")
    ]
    if not known:
        return ""
    # All numbers at once: ten thousand footprints in a tenth of a second.
    sky = np.array([n for numbers, _ in known for n in numbers], np.float64).reshape(-1, 2)
    projected, grid = _projected(sky)
    x0, y0 = projected.min(axis=0)
    span_x, span_y = np.maximum(np.ptp(projected, axis=0), 1e-6)
    zoom = (_WIDTH - 2 * _MARGIN) / max(span_x, span_y)
    tall = min(_WIDTH, span_y * zoom + 2 * _MARGIN)
    shift = (_WIDTH - 2 * _MARGIN - span_x * zoom) / 2
    pixels = np.column_stack(
        [
            _MARGIN + shift + (projected[:, 0] - x0) * zoom,
            tall - _MARGIN - (projected[:, 1] - y0) * zoom,
        ]
    )
    scale = ColorScale.of([v for _, v in known])
    paths: dict[str, list[str]] = {}
    # Tenths of pixels, which the paths' transformation makes pixels.
    words = ["%d %d" % (x, y) for x, y in np.rint(10.0 * pixels).astype(int).tolist()]  # noqa: UP031 twice as fast
    start = 0
    for numbers, value in known:
        stop = start + len(numbers) // 2
        paths.setdefault(scale.color(value), []).append(f"M{'L'.join(words[start:stop])}Z")
        start = stop
    parts = [_opening(_WIDTH, tall, f"Footprints of {len(known)} images; {grid}")]
    parts += [
        f'<path d="{"".join(shapes)}" fill="{color}" fill-opacity="0.55" stroke="{color}" '
        'stroke-width="7" transform="scale(0.1)"/>'
        for color, shapes in paths.items()
    ]
    return "".join([*parts, f'<text x="8" y="16">{grid}</text></svg>'])


def _projected(sky: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], str]:
    ra, dec = np.radians(sky).T
    vectors = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    middle = vectors.mean(axis=0)
    length = float(np.linalg.norm(middle))
    if length > 1e-3:
        middle /= length
        if float((vectors @ middle).min()) > math.cos(math.radians(_TANGENT)):
            ra0, dec0 = math.atan2(middle[1], middle[0]), math.asin(middle[2])
            east = np.array([-math.sin(ra0), math.cos(ra0), 0.0])
            north = np.cross(middle, east)
            depth = vectors @ middle
            plane = np.column_stack([-(vectors @ east) / depth, (vectors @ north) / depth])
            place = f"RA {math.degrees(ra0) % 360:.2f}°, Dec {math.degrees(dec0):+.2f}°"
            return np.degrees(plane), f"centre {place}; north up, east left"
    # The whole sky: 0h in the middle.
    around = (sky[:, 0] + 180.0) % 360.0 - 180.0
    return np.column_stack([-around, sky[:, 1]]), "the sky, RA 0 in the middle; north up, east left"


def _places(
    detectors: Sequence[int], instrument: Instrument | None
) -> tuple[dict[int, tuple[float, float]], float, float]:
    """Return the middles of detectors and their size, mm or places in a grid."""
    known = instrument.detector_centers if instrument is not None else {}
    shape = instrument.detector_shape if instrument is not None else None
    if instrument is not None and shape is not None and all(d in known for d in detectors):
        height, width = (n * instrument.pixel_size for n in shape)
        everywhere = {d: known[d] for d in detectors}
        return everywhere, width, height
    across = math.ceil(math.sqrt(len(detectors)))
    grid = {d: (float(n % across), -float(n // across)) for n, d in enumerate(detectors)}
    return grid, 1.0, 1.0


def _opening(width: float, height: float, title: str) -> str:
    return (
        f'<svg class="map" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
    )
