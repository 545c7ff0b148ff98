"""New sources that are narrower than the PSF: then it is not that of stars.

Where an image shows no star, its narrowest galaxies pass for some. Neither their number nor the
agreement of their widths tells, but nothing that came through the telescope is narrower than a
star: whatever is new in the image tells the width that its PSF should have.
"""

from collections.abc import Sequence

import numpy as np

from residua.subtraction.detections import Detection
from residua.subtraction.errors import InsufficientKernelStarsError

__all__ = ["check_psf_width"]

_LEAST_SN, _LEAST_SOURCES = 15.0, 5
_LEAST_SIZE = 0.8
"""Median squared width of new sources over the PSF's: 0.86 to 1.20 on frames with one to six stars;
0.28 to 0.66 where galaxies made fluxes 25 to 70 % high."""
_LEAST_FWHM = 2.0
"""Pixels, below which shapes are those of the pixels."""


def check_psf_width(detections: Sequence[Detection], fwhm: float, psf_stars: int) -> None:
    """Raise if new sources are narrower than a PSF that stands on little.

    Parameters
    ----------
    detections
        Of the difference.
    fwhm
        Of its PSF, pixels.
    psf_stars
        Bright stars that the PSF was measured on.

    Raises
    ------
    InsufficientKernelStarsError
        If at least five sources tell, and say so in the median.
    """
    sizes = [
        (d.ixx + d.iyy) / (d.ixx_psf + d.iyy_psf)
        for d in detections
        if d.signal_to_noise >= _LEAST_SN
        and d.flux > max(0.0, d.template_flux)
        and not (d.shape_flag or d.is_dipole)
    ]
    if len(sizes) < _LEAST_SOURCES or fwhm < _LEAST_FWHM:
        return
    size = float(np.median(sizes))
    if size < _LEAST_SIZE:
        raise InsufficientKernelStarsError(
            f"the PSF of {fwhm:.2f} px FWHM is not that of stars: {len(sizes)} new sources have "
            f"{size:.2f} of its squared width (least {_LEAST_SIZE:g}); the {psf_stars} bright "
            "objects that it was measured on may be galaxies: give PSF models of both images, or "
            "use a larger image",
            psf_stars=psf_stars,
            new_sources=len(sizes),
            source_size=size,
            source_size_limit=_LEAST_SIZE,
        )
