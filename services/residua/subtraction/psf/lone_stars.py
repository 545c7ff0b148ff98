"""One or two stars among galaxies: too few to agree, but narrower than all else in both images."""

import numpy as np
import numpy.typing as npt

from residua.subtraction.psf.star_locus import PsfStars

__all__ = ["lone_stars"]

type Array = npt.NDArray[np.float64]
type Flags = npt.NDArray[np.bool_]

_LEAST_SN, _ENOUGH_SN, _WIDTH_ERROR = 20.0, 100.0, 1.5
"""Peak over noise of a candidate, and of one of them; error of ln width times the former."""
_NARROWER, _NARROWER_THERE = 0.15, 0.08
"""Of ln width: how far below what passes for stars, in this image and in the other."""
_SAME = 0.03
_SURE_STARS, _SURE_SCATTER = 6, 0.02
"""So many objects of so little scatter in width are stars, whatever is narrower than they."""


def lone_stars(objects: PsfStars, taken: Flags, seen: Flags, widths_there: Array) -> Flags:
    """Stars that are narrower, in both images, than what was taken for stars.

    A hit on a galaxy is narrow in one image; hits and hot pixels of one image do not show in the
    other. A star is the narrowest object of both, so that one alone tells more of the PSF than any
    number of galaxies.

    Parameters
    ----------
    objects
        Candidates.
    taken
        bool (n,): which of them passed for stars; the other image shows them too.
    seen
        bool (n,): which of them the other image shows.
    widths_there
        float64 (n,): their widths in the other image, pixels; NaN where there is none.

    Returns
    -------
    numpy.ndarray
        bool (n,); none where what was taken for stars is beyond doubt, or nothing is narrower.
    """
    none = np.zeros(len(objects), np.bool_)
    here, there = np.log(objects.sigma), np.log(widths_there)
    compared = taken & np.isfinite(there)
    if not compared.any():
        return none
    middle = float(np.median(here[compared]))
    scatter = 1.4826 * float(np.median(np.abs(here[compared] - middle)))
    if np.count_nonzero(compared) >= _SURE_STARS and scatter < _SURE_SCATTER:
        return none
    narrow = seen & (objects.peak_sn >= _LEAST_SN) & (here < middle - _NARROWER)
    narrow &= there < float(np.median(there[compared])) - _NARROWER_THERE
    if not narrow.any():
        return none
    error = 2.0 * _WIDTH_ERROR / np.maximum(objects.peak_sn, 1.0)
    best = int(np.argmin(np.where(narrow, here + error, np.inf)))
    found = np.abs(here - here[best]) < np.maximum(_SAME, np.minimum(error, _NARROWER))
    # A faint one may be narrow by chance, and says little of the PSF.
    found &= objects.peak_sn >= _LEAST_SN
    if not np.any(objects.peak_sn[found & narrow] >= _ENOUGH_SN):
        return none
    return np.asarray(found)
