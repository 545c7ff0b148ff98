"""What the match leaves of every star, as noise of the detections that lie on stars.

No kernel fits exactly: of a star there remains a part of its own image, of either sign, that the
median star shows (`residua.subtraction.detect.trust.star_residuals`). A detection on a star must
stand out of that too. A sound match leaves nothing for certain, and nothing changes.
"""

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, PsfModel
from residua.subtraction.match.stamp_equations import cut

__all__ = ["mismatch_factor"]

_HALF_WIDTH_FWHM = 1.5


def mismatch_factor(
    matched_template: FloatPlane,
    variance: FloatPlane,
    psf: PsfModel,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    residual: float,
) -> npt.NDArray[np.float64]:
    """Factor by which the mismatch raises the variance of matched-filter fluxes.

    Residuals of ``residual`` times the star's image, of random sign from pixel to pixel, give the
    flux ``sum P D / sum P^2`` the variance ``q^2 sum P^2 M^2 / (sum P^2)^2``; the noise of the
    pixels gives ``V / sum P^2``. A mismatch below the noise of a pixel does not count: on faint
    stars and hosts it was not seen, and stars that moved tell nothing of a galaxy.

    Parameters
    ----------
    matched_template
        float32 (ny, nx), scale of the difference.
    variance
        float32 (ny, nx), of the difference.
    psf
        Of the difference.
    x, y
        int64 (n,): peaks, on good pixels.
    residual
        Part of a star's image that is left on it for certain; NaN counts as nothing.

    Returns
    -------
    numpy.ndarray
        float64 (n,), at least 1.
    """
    factor = np.ones(len(x))
    if not residual > 0.0:
        return factor
    half = min(int(np.ceil(_HALF_WIDTH_FWHM * psf.fwhm())), psf.size // 2)
    middle = psf.size // 2
    inner = slice(middle - half, middle + half + 1)
    ny, nx = psf.polynomial.shape
    weight = psf.stamp((nx - 1) / 2, (ny - 1) / 2)[inner, inner] ** 2
    weight /= weight.sum()
    for k, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        square = np.sum(weight * np.nan_to_num(cut(matched_template, a, b, half)) ** 2)
        factor[k] += max(residual**2 * float(square) / float(variance[b, a]) - 1.0, 0.0)
    return factor
