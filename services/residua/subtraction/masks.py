"""The mask planes, as bits of one int32 plane.

Names are those of ``lsst.images`` (``get_legacy_difference_image_mask_planes``), in its
order, followed by the planes that only template coadds carry.
"""

from enum import IntFlag

__all__ = ["UNUSABLE", "MaskBit"]


class MaskBit(IntFlag):
    """Mask planes; the value is the bit in the packed int32 mask."""

    BAD = 1 << 0
    SATURATED = 1 << 1
    INTERPOLATED = 1 << 2
    COSMIC_RAY = 1 << 3
    DETECTION_EDGE = 1 << 4
    DETECTED = 1 << 5
    SUSPECT = 1 << 6
    NO_DATA = 1 << 7
    VIGNETTED = 1 << 8
    PARTLY_VIGNETTED = 1 << 9
    CROSSTALK = 1 << 10
    ITL_DIP = 1 << 11
    NOT_DEBLENDED = 1 << 12
    SPIKE = 1 << 13
    UNMASKED_NAN = 1 << 14
    DETECTED_NEGATIVE = 1 << 15
    SAT_TEMPLATE = 1 << 16
    HIGH_VARIANCE = 1 << 17
    STREAK = 1 << 18
    # Template coadds only; never set in a difference image.
    CLIPPED = 1 << 19
    REJECTED = 1 << 20
    INEXACT_PSF = 1 << 21
    SENSOR_EDGE = 1 << 22


UNUSABLE = (
    MaskBit.BAD
    | MaskBit.SATURATED
    | MaskBit.INTERPOLATED
    | MaskBit.COSMIC_RAY
    | MaskBit.DETECTION_EDGE
    | MaskBit.NO_DATA
    | MaskBit.UNMASKED_NAN
    | MaskBit.SAT_TEMPLATE
)
"""Planes whose pixels carry no trustworthy flux: zeroed before the decorrelation.

docs/concepts/noise.md tells what they do otherwise.
"""
