"""Search for PSF stars of any width: on the image, and on the image binned where stars are wide.

A star of 12 px has many maxima of noise on its flanks, a defocused one has its maxima on a ring.
Binned until its width is a few pixels, either is one peak again.
"""

from dataclasses import replace

import numpy as np

from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.pixels.peaks import Peaks
from residua.subtraction.psf.star_locus import PsfStars
from residua.subtraction.psf.stars import FoundStars, OtherImage, Separation, stars_at_scale

__all__ = ["binning_of", "select_psf_stars"]

_FWHM_PER_SIGMA = 2.3548
_BINNINGS = (1, 2, 4, 8)
_ENOUGH_STARS = 3
_FEW_STARS, _MANY_MORE, _SAME_WIDTH = 6, 3, 0.05
"""Fewer may be the odd ones of many that are broken up, or galaxies among them: three times as many
that are no wider tell so; wider ones are galaxies."""
_WIDEST = 5.5
"""FWHM in binned pixels above which the next binning is tried."""
_USUAL = (2.5, 5.5)
"""FWHM in binned pixels for which the first separations, of 12 px and 2.5 px, were made."""
_ISOLATION, _CORE = 2.8, 0.6
"""The separations in units of the FWHM, once that is known."""
_NARROW = (6.0, 1.5)
"""Separations in binned pixels of a star that was broken up at the binning before."""


def binning_of(fwhm: float) -> int:
    """Return the least binning at which stars of a FWHM, pixels, are narrow; else the largest."""
    return next((b for b in _BINNINGS if fwhm <= _WIDEST * b), _BINNINGS[-1])


def select_psf_stars(
    image: FloatPlane,
    mask: MaskPlane,
    sigma: float,
    maximum: int,
    other: OtherImage | None = None,
) -> FoundStars:
    """Find the stars from which the PSF can be measured.

    Bright peaks without bright neighbours, spread over the image, whose adaptive width lies
    on the narrow locus of stars. The demands are lowered step by step while too few are found.
    Where fewer than six stars are found, or all are wider than 5.5 px, the image is binned by two,
    four and eight. If under three were found, or such wide ones, a binning that shows more counts;
    else one that shows three times as many that are no wider.

    Parameters
    ----------
    image
        float32 (ny, nx), background-subtracted.
    mask
        int32 (ny, nx).
    sigma
        Noise of the sky, unit of the image.
    maximum
        Stars to return at most.
    other
        Another image of the same sky on the same pixels: what both show is no hit.

    Returns
    -------
    FoundStars
        At most ``maximum`` stars. Positions and widths are in pixels of the image.
    """
    best: FoundStars | None = None
    before = 1
    for binning in _BINNINGS:
        found = _search(image, mask, sigma, binning, other)
        if best is None or found.lone or _is_better(found.stars, best.stars, before):
            best = found
        before = binning
        if best.lone or (len(best.stars) >= _FEW_STARS and _fwhm(best.stars) <= _WIDEST * binning):
            break
    assert best is not None
    some = np.arange(min(len(best.stars), maximum))
    return replace(best, stars=best.stars.select(some))


def _search(
    image: FloatPlane, mask: MaskPlane, sigma: float, binning: int, other: OtherImage | None
) -> FoundStars:
    """Stars at one binning; once more with separations that fit their width."""
    planes = (image, mask) if binning == 1 else _binned(image, mask, binning)
    if min(planes[0].shape) < 8:
        none = np.zeros(0)
        pixels = np.zeros(0, np.int64)
        empty = Peaks(pixels, pixels, none.astype(np.float32))
        return FoundStars(PsfStars(none, none, none, none), empty)
    separation = Separation.of_binning(binning)
    found = stars_at_scale(image, mask, planes, sigma, binning, separation, other)
    if len(found.stars) < _FEW_STARS and binning > 1 and not found.lone:
        narrow = Separation(_NARROW[0] * binning, _NARROW[1] * binning)
        again = stars_at_scale(image, mask, planes, sigma, binning, narrow, other)
        found = again if len(again.stars) > len(found.stars) or again.lone else found
    if len(found.stars) >= _ENOUGH_STARS and not found.lone:
        fwhm = _fwhm(found.stars)
        if not _USUAL[0] * binning <= fwhm <= _USUAL[1] * binning:
            fitting = Separation(_ISOLATION * fwhm, _CORE * fwhm)
            again = stars_at_scale(image, mask, planes, sigma, binning, fitting, other)
            found = again if len(again.stars) >= _ENOUGH_STARS or again.lone else found
    return found


def _is_better(coarse: PsfStars, fine: PsfStars, binning: int) -> bool:
    """Whether a coarser binning shows stars better than those so far, the last of them given."""
    if len(fine) < _ENOUGH_STARS or _fwhm(fine) > _WIDEST * binning:
        return len(coarse) > len(fine)
    many_more = len(coarse) >= _MANY_MORE * len(fine)
    return many_more and _fwhm(coarse) < (1.0 + _SAME_WIDTH) * _fwhm(fine)


def _fwhm(stars: PsfStars) -> float:
    return _FWHM_PER_SIGMA * float(np.median(stars.sigma))


def _binned(image: FloatPlane, mask: MaskPlane, binning: int) -> tuple[FloatPlane, MaskPlane]:
    """Means, and the union of the flags, of squares of pixels; a rest at the border is left out."""
    ny, nx = image.shape[0] // binning, image.shape[1] // binning
    split = (ny, binning, nx, binning)
    pixels = image[: ny * binning, : nx * binning].reshape(split)
    flags = mask[: ny * binning, : nx * binning].reshape(split)
    return (
        np.ascontiguousarray(pixels.mean(axis=(1, 3), dtype=np.float32)),
        np.ascontiguousarray(np.bitwise_or.reduce(np.bitwise_or.reduce(flags, axis=3), axis=1)),
    )
