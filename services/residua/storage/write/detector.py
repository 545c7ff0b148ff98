"""The detector component of an archive, without a camera model: nominal geometry only."""

from functools import lru_cache
from typing import Any

import astropy.units as u
from lsst.images import Box
from lsst.images.cameras import (
    CameraFrameSetSerializationModel,
    Detector,
    DetectorAttributes,
    DetectorType,
    Orientation,
)
from starlink import Ast

from residua.instruments import Instrument

__all__ = ["make_detector"]


def make_detector(
    instrument: Instrument, visit: int, detector: int, shape: tuple[int, int], pixel_scale: float
) -> Any:
    """Return a detector centred on the focal plane, unrotated.

    Where it really sits is not known here; the sky projection of the image is what counts.

    Parameters
    ----------
    instrument
        Description of the instrument.
    visit, detector
        Identity.
    shape
        (ny, nx), pixels.
    pixel_scale
        arcsec.
    """
    name = instrument.detectors.get(detector, f"{detector:03d}")
    frames = _frames(instrument.name, detector, shape, instrument.pixel_size, round(pixel_scale, 6))
    attributes = DetectorAttributes(
        name=name,
        id=detector,
        type=DetectorType.SCIENCE,
        serial="",
        bbox=Box.factory[0 : shape[0], 0 : shape[1]],
        orientation=Orientation(
            focal_plane_x=0.0,
            focal_plane_y=0.0,
            focal_plane_z=0.0,
            pixel_reference_x=(shape[1] - 1) / 2.0,
            pixel_reference_y=(shape[0] - 1) / 2.0,
        ),
        pixel_size=instrument.pixel_size,
        physical_type="CCD",
    )
    return Detector(attributes, [], frames, visit=visit)


@lru_cache(maxsize=64)
def _frames(
    instrument: str, detector: int, shape: tuple[int, int], pixel_size: float, pixel_scale: float
) -> Any:
    # lsst.images builds frame sets from AST text; the text is the public way in.
    ny, nx = shape
    plane = Ast.Frame(2, "Ident=FOCAL_PLANE,Unit(1)=mm,Unit(2)=mm")
    frame_set = Ast.FrameSet(plane)
    per_mm = (pixel_scale * u.arcsec).to_value(u.rad) / pixel_size
    angle = Ast.Frame(2, "Ident=FIELD_ANGLE,Unit(1)=rad,Unit(2)=rad")
    frame_set.addframe(1, Ast.ZoomMap(2, per_mm), angle)
    pixels = Ast.Frame(
        2, f"Ident=DETECTOR_{detector:03d},Bottom(1)=0,Top(1)={nx},Bottom(2)=0,Top(2)={ny}"
    )
    cx, cy = (nx - 1) / 2.0, (ny - 1) / 2.0
    to_pixels = Ast.WinMap([0.0, 0.0], [pixel_size, pixel_size], [cx, cy], [cx + 1.0, cy + 1.0])
    frame_set.addframe(1, to_pixels, pixels)
    return CameraFrameSetSerializationModel(instrument=instrument, ast=str(frame_set)).deserialize(
        None
    )
