"""Where the detectors of a camera look, from its geometry and where the camera points."""

import math

from residua.errors import UnknownInstrumentError
from residua.instruments.model import Instrument
from residua_schemas import SkyPolygon
from residua_schemas.next_visit import position_on_sky

__all__ = ["detector_footprint"]

_ARCSEC = math.radians(1.0 / 3600.0)


def detector_footprint(
    instrument: Instrument, detector: int, pointing: tuple[float, float], angle: float
) -> SkyPolygon:
    """Footprint of a detector, without optical distortion.

    Parameters
    ----------
    pointing
        The boresight: right ascension and declination, ICRS, degrees.
    angle
        Position angle of the focal plane's y axis, degrees east of north; at 0, x points west.

    Raises
    ------
    residua.errors.UnknownInstrumentError
        The instrument's description lacks what it takes.
    """
    center = instrument.detector_centers.get(detector)
    shape, scale = instrument.detector_shape, instrument.pixel_scale
    if center is None or shape is None or scale is None:
        raise UnknownInstrumentError(
            f"the description of {instrument.name} does not say where detector {detector} lies: "
            "it needs detector_centers, detector_shape and pixel_scale"
        )
    plate_scale = scale / instrument.pixel_size * _ARCSEC
    turn = math.radians(instrument.detector_rotations.get(detector, 0.0))
    half_height, half_width = (0.5 * n * instrument.pixel_size for n in shape)
    vertices = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        along, up = x * half_width, y * half_height
        focal_x = center[0] + along * math.cos(turn) - up * math.sin(turn)
        focal_y = center[1] + along * math.sin(turn) + up * math.cos(turn)
        radius = math.hypot(focal_x, focal_y)
        # The focal plane is linear in the angle from the boresight, the tangent plane is not.
        stretch = math.tan(radius * plate_scale) / radius if radius else plate_scale
        vertices.append(position_on_sky(pointing, angle, focal_x * stretch, focal_y * stretch))
    return SkyPolygon(vertices=tuple(vertices))
