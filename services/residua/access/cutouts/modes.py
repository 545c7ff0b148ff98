"""Modes of cutouts, as Rubin's services name them."""

__all__ = ["CUTOUT_MODES"]

CUTOUT_MODES = {
    "cutout-sync": "image",
    "cutout-sync-maskedimage": "masked-image",
    "cutout-sync-exposure": "exposure",
}
"""From the DataLink service to its CUTOUTMODE: pixels and WCS; with variance and mask; all."""
