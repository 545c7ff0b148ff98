"""What is at one place of a difference image: pixels, mask, the nearest detection."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from residua.access.dali.errors import UsageError
from residua.access.page.drawing.pixels import ImagePlanes
from residua.access.page.explain import Statement
from residua_schemas import DifferenceImageCreated

__all__ = ["explain_place", "pixel_of"]

_MEANINGS = {
    "BAD": "the detector is bad there",
    "SATURATED": "the visit image is saturated there",
    "SAT_TEMPLATE": "the template is saturated there",
    "COSMIC_RAY": "a cosmic ray was found there",
    "INTERPOLATED": "a pixel was filled in from its neighbours",
    "DETECTION_EDGE": "too near the edge or an unusable pixel to detect anything",
    "DETECTED": "part of a detection above the template",
    "DETECTED_NEGATIVE": "part of a detection below the template",
    "NO_DATA": "no template, or no pixel of the visit",
    "HIGH_VARIANCE": "the noise is much higher than elsewhere",
    "STREAK": "a satellite's trail",
    "CROSSTALK": "crosstalk was corrected",
}


def pixel_of(planes: ImagePlanes, ra: float, dec: float) -> tuple[float, float]:
    """Return x and y of a position, degrees; raises `UsageError` off the image."""
    x, y = (float(v) for v in planes.file.wcs.all_world2pix(ra, dec, 0, quiet=True))
    ny, nx = planes.shape
    if not (
        math.isfinite(x) and math.isfinite(y) and -0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5
    ):
        raise UsageError(f"({ra:g}, {dec:g}) is not on this image")
    return x, y


def explain_place(
    planes: ImagePlanes,
    event: DifferenceImageCreated,
    x: float,
    y: float,
    detections: Sequence[Mapping[str, Any]],
) -> list[Statement]:
    """Say what is at a pixel, and why something was or was not found there."""
    ny, nx = planes.shape
    i, j = min(max(round(x), 0), nx - 1), min(max(round(y), 0), ny - 1)
    box = (slice(j, j + 1), slice(i, i + 1))
    ra, dec = (float(v) for v in planes.file.wcs.all_pix2world(x, y, 0))
    found = [Statement("Place", f"x {x:.1f}, y {y:.1f}; RA {ra % 360.0:.6f}°, Dec {dec:+.6f}°")]
    value = float(planes.pixels("difference", box)[0, 0])
    sigma = math.sqrt(max(float(planes.file.pixels("VARIANCE", box)[0, 0]), 0.0))
    text = f"difference {value:.4g} {event.unit}"
    if sigma:
        text += f", {value / sigma:+.1f} of its sigma {sigma:.4g}"
    if planes.science is not None:
        science = float(planes.pixels("science", box)[0, 0])
        text += f"; visit image {science:.4g}, matched template {science - value:.4g}"
    found.append(Statement("Pixel", text))
    mask = int(planes.mask(box)[0, 0])
    names = [name for name, bit in planes.mask_bits.items() if mask >> bit & 1]
    said = "; ".join(f"{n}: {_MEANINGS.get(n, 'set')}" for n in names)
    unusable = set(names) - {"DETECTED", "DETECTED_NEGATIVE"}
    found.append(Statement("Mask", said or "nothing is set", "note" if unusable else "plain"))
    found.append(_nearest(event, x, y, detections))
    return found


def _nearest(
    event: DifferenceImageCreated, x: float, y: float, detections: Sequence[Mapping[str, Any]]
) -> Statement:
    if not detections:
        return Statement("Nearest detection", "there is none on this image")
    nearest = min(detections, key=lambda d: math.hypot(d["x"] - x, d["y"] - y))
    pixels = math.hypot(nearest["x"] - x, nearest["y"] - y)
    arcsec = pixels * event.pixel_scale
    text = f"{arcsec:.2f}″ away, S/N {nearest['snr']:+.1f}"
    if nearest.get("isdipole"):
        text += f", a dipole of {nearest['dipolelength']:.2f} lobe distance"
    if arcsec > 2.0 * event.psf_fwhm:
        limit = event.quality.limiting_flux
        if limit is not None:
            text += f"; here nothing reached 5 sigma, {limit:.4g} {event.unit} for a point source"
    return Statement("Nearest detection", text)
