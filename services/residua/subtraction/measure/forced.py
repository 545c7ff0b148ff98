"""Forced photometry: PSF fluxes at given positions of a difference image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane, PsfModel
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.measure.photometry import forced_flux
from residua.subtraction.measure.source_stamps import cut_planes, psf_stamps

if TYPE_CHECKING:
    from astropy.wcs.wcsapi import BaseLowLevelWCS

__all__ = ["ForcedFlux", "forced_photometry"]

_FIT_RADIUS = 2.5
_AT_ONCE = 256


@dataclass(frozen=True)
class ForcedFlux:
    """PSF flux at one given position.

    Parameters
    ----------
    ra, dec
        Asked for, ICRS degrees.
    x, y
        Where that is, 0-based pixels.
    flux, flux_error
        Unit of the image; NaN where less than half of the PSF's power lies on usable pixels.
    mask
        Planes of the 3 x 3 central pixels, as bits of `residua.subtraction.masks.MaskBit`.
    off_image
        The position lies outside the image.
    """

    ra: float
    dec: float
    x: float
    y: float
    flux: float
    flux_error: float
    mask: int
    off_image: bool


def forced_photometry(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    psf: PsfModel,
    wcs: "BaseLowLevelWCS",
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
) -> tuple[ForcedFlux, ...]:
    """Measure PSF fluxes at sky positions, for a light curve or an upper limit.

    The decorrelated difference has white noise, so that the error that its variance plane gives
    is honest at any position, on empty sky too. Works on any image with these planes, such as a
    difference image read back from its file.

    Parameters
    ----------
    image, variance, mask
        The planes, (ny, nx).
    psf
        Of the image.
    wcs
        Celestial WCS, ICRS degrees.
    ra, dec
        Positions, degrees; scalars or (n,).

    Returns
    -------
    tuple of ForcedFlux
        One for each position, in their order.
    """
    ra_, dec_ = (np.atleast_1d(np.asarray(v, np.float64)) for v in (ra, dec))
    x, y = (np.asarray(v, np.float64) for v in wcs.world_to_pixel_values(ra_, dec_))
    ny, nx = image.shape
    inside = np.isfinite(x) & np.isfinite(y)
    inside &= (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    flux, error = np.full(x.size, np.nan), np.full(x.size, np.nan)
    bits = np.zeros(x.size, np.int64)
    at = np.flatnonzero(inside)
    half = int(np.ceil(_FIT_RADIUS * psf.fwhm()))
    for start in range(0, at.size, _AT_ONCE):
        part = at[start : start + _AT_ONCE]
        ix, iy = np.rint(x[part]).astype(np.int64), np.rint(y[part]).astype(np.int64)
        pixels, noise = cut_planes(image, ix, iy, half), cut_planes(variance, ix, iy, half)
        # Planes beyond the image are cut as zeros: no variance, no good pixel.
        flags = cut_planes(mask, ix, iy, half)
        good = ((flags & int(UNUSABLE)) == 0) & np.isfinite(pixels) & (noise > 0)
        profiles = psf_stamps(psf, ix, iy, half).at(x[part] - ix, y[part] - iy)
        flux[part], error[part], _ = forced_flux(pixels, noise, good, profiles)
        centre = flags[:, half - 1 : half + 2, half - 1 : half + 2]
        bits[part] = np.bitwise_or.reduce(centre, axis=(1, 2))
    return tuple(
        ForcedFlux(*row)
        for row in zip(
            ra_.tolist(), dec_.tolist(), x.tolist(), y.tolist(), flux.tolist(), error.tolist(),
            bits.tolist(), (~inside).tolist(), strict=True,
        )
    )  # fmt: skip
