"""World coordinate systems of simulated images."""

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from residua.simulation.sky.scene import Projection

__all__ = ["make_wcs", "pixel_to_pixel", "shift"]

type Array = npt.NDArray[np.float64]

BORESIGHT_OFFSET = (-5000.0, 3000.0)
"""Pixels from the image's centre to the centre of the distortion, as on a mosaic camera."""
DISTORTION_AT_CENTRE = 0.003
"""Relative radial displacement at the centre of the image: 17 px, scale changes of 0.9 %."""


def make_wcs(
    ra: float,
    dec: float,
    *,
    centre: tuple[float, float],
    pixel_scale: float,
    rotation: float,
    projection: Projection = "TAN",
) -> WCS:
    """Return a celestial WCS (ICRS) with RA growing to the left at rotation 0.

    Parameters
    ----------
    ra, dec
        Degrees; the sky position of pixel `centre` (within the distortion's displacement).
    centre
        0-based (x, y) of that pixel.
    pixel_scale
        arcsec per pixel.
    rotation
        Position angle of the y axis, degrees.
    projection
        ``SIP`` and ``TPV`` add a cubic radial distortion about a point off the image.
    """
    plain = _tan(ra, dec, centre, pixel_scale, rotation)
    if projection == "TAN":
        return plain
    axis = (centre[0] + BORESIGHT_OFFSET[0], centre[1] + BORESIGHT_OFFSET[1])
    axis_ra, axis_dec = plain.pixel_to_world_values(*axis)
    # North turns between the image and the axis: take the angle that keeps the image's own.
    turned = _tan(float(axis_ra), float(axis_dec), axis, pixel_scale, rotation)
    step = plain.pixel_to_world_values(centre[0], centre[1] + 100.0)
    here = plain.pixel_to_world_values(*centre)
    x, y = turned.world_to_pixel_values(*step)
    x0, y0 = turned.world_to_pixel_values(*here)
    turn = np.degrees(np.arctan2(x - x0, y - y0))
    distorted = _tan(float(axis_ra), float(axis_dec), axis, pixel_scale, rotation + float(turn))
    return _distort(distorted, projection, pixel_scale)


def _distort(wcs: WCS, projection: Projection, pixel_scale: float) -> WCS:
    radius = np.hypot(*BORESIGHT_OFFSET)
    header = wcs.to_header(relax=True)
    cubic = DISTORTION_AT_CENTRE / radius**2
    if projection == "SIP":
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header["A_ORDER"], header["B_ORDER"] = 3, 3
        header["A_3_0"] = header["A_1_2"] = header["B_0_3"] = header["B_2_1"] = cubic
    else:
        # wcslib applies TPV before CDELT: only a CD matrix has its terms in degrees.
        scale = pixel_scale / 3600.0
        for i, j in ((1, 1), (1, 2), (2, 1), (2, 2)):
            header[f"CD{i}_{j}"] = header.pop(f"PC{i}_{j}", float(i == j)) * scale
        del header["CDELT1"], header["CDELT2"]
        header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
        per_degree = cubic / scale**2
        for axis in (1, 2):
            header[f"PV{axis}_1"] = 1.0
            header[f"PV{axis}_7"] = header[f"PV{axis}_9"] = per_degree
    return WCS(header)


def _tan(
    ra: float, dec: float, centre: tuple[float, float], pixel_scale: float, rotation: float
) -> WCS:
    wcs = WCS(naxis=2)
    angle = np.radians(rotation)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.crval = [ra % 360.0, dec]
    wcs.wcs.crpix = [centre[0] + 1.0, centre[1] + 1.0]
    cos, sin = np.cos(angle), np.sin(angle)
    wcs.wcs.pc = [[-cos, sin], [sin, cos]]
    wcs.wcs.cdelt = [pixel_scale / 3600.0, pixel_scale / 3600.0]
    wcs.wcs.set()
    return wcs


def pixel_to_pixel(source: WCS, target: WCS, x: Array, y: Array) -> tuple[Array, Array]:
    """Map 0-based pixel positions of one image to another's, through the sky."""
    mapped = target.world_to_pixel_values(*source.pixel_to_world_values(x, y))
    return np.asarray(mapped[0], np.float64), np.asarray(mapped[1], np.float64)


def shift(wcs: WCS, x: int, y: int) -> WCS:
    """Return the WCS of the sub-image whose pixel (0, 0) is pixel (x, y) of this one."""
    moved = wcs.deepcopy()
    moved.wcs.crpix = [wcs.wcs.crpix[0] - x, wcs.wcs.crpix[1] - y]
    if moved.sip is not None:
        header = wcs.to_header(relax=True)
        header["CRPIX1"], header["CRPIX2"] = moved.wcs.crpix[0], moved.wcs.crpix[1]
        return WCS(header)
    moved.wcs.set()
    return moved
