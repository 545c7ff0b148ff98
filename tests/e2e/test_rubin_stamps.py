"""Rubin's own alert stamps: 30 x 30 px, no star to fit a kernel to, but both PSFs.

The yardstick is Rubin's difference of the same two stamps.
"""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.signal import fftconvolve

from residua.subtraction import DifferenceImage, ScienceImage, TemplateImage
from residua.subtraction.images import PsfModel, SpatialPolynomial
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.subtract import subtract

MOVING, DIPOLE, POINT, FAINT_DIPOLE, WEAK = (
    "169813007065940063",
    "169813007065940115",
    "169813006395375676",
    "169813007065940116",
    "169813006129561655",
)


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, variance (that is what UNCERT holds) and PSF."""
    with fits.open(path) as file:
        planes = (file[0].data, file["UNCERT"].data, file["PSFIMAGE"].data)
        return tuple(np.ascontiguousarray(p, np.float32) for p in planes)


def grid() -> WCS:
    """Any: the stamps of one source share their pixels, and their own WCS has no CTYPE."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [59.5, -48.5], [15.0, 15.0]
    wcs.wcs.cd = 0.2 / 3600 * np.diag([-1.0, 1.0])
    return wcs


def difference(folder: Path, source: str) -> tuple[DifferenceImage, tuple[np.ndarray, ...]]:
    def model(stamp: np.ndarray, shape: tuple[int, int]) -> PsfModel:
        return PsfModel((stamp / stamp.sum(dtype=float))[None], SpatialPolynomial(shape, 0))

    (s, s_variance, s_psf), (t, t_variance, t_psf) = (
        read(folder / f"{source}_{kind}.fits") for kind in "ST"
    )
    mask = np.zeros(s.shape, np.int32)
    science = ScienceImage(s, s_variance, mask, grid(), model(s_psf, s.shape))
    template = TemplateImage(t, t_variance, mask.copy(), grid(), model(t_psf, t.shape))
    return subtract(science, [template]), read(folder / f"{source}_D.fits")


def usable(result: DifferenceImage) -> np.ndarray:
    return np.isfinite(result.image) & ((result.mask & int(UNUSABLE)) == 0)


def filtered(image: np.ndarray, good: np.ndarray, psf: np.ndarray) -> np.ndarray:
    return fftconvolve(np.where(good, image, 0.0), psf[::-1, ::-1], "same")


def flux(image: np.ndarray, variance: np.ndarray, good: np.ndarray, psf: np.ndarray):
    """PSF flux and error at the centre."""
    half, middle = 7, psf.shape[0] // 2
    p = psf[middle - half : middle + half + 1, middle - half : middle + half + 1] / psf.sum()
    box = (slice(15 - half, 16 + half),) * 2
    weight = p * good[box]
    norm = np.sum(weight * p)
    error = np.sqrt(np.sum(weight**2 * np.where(good, variance, 0.0)[box])) / norm
    return np.sum(weight * np.where(good, image, 0.0)[box]) / norm, error


@pytest.mark.parametrize(
    ("source", "least"),
    [(MOVING, 0.99), (DIPOLE, 0.94), (POINT, 0.99), (FAINT_DIPOLE, 0.94), (WEAK, 0.99)],
)
def test_the_difference_is_rubins(source: str, least: float, rubin_stamps: Path):
    result, (d, _, d_psf) = difference(rubin_stamps, source)
    good = usable(result)
    assert np.mean(good) > 0.25
    ours = filtered(result.image, good, result.psf.stamp(15, 15))
    theirs = filtered(d, good, d_psf)
    core = (slice(10, 20),) * 2
    assert np.corrcoef(ours[core].ravel(), theirs[core].ravel())[0, 1] >= least
    assert result.quality.kernel_stars == 0
    assert result.quality.kernel_sum == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("source", [MOVING, POINT, WEAK])
def test_the_flux_is_rubins(source: str, rubin_stamps: Path):
    result, (d, d_variance, d_psf) = difference(rubin_stamps, source)
    good = usable(result)
    ours, error = flux(result.image, result.variance, good, result.psf.stamp(15, 15))
    theirs, _ = flux(d, d_variance, good, d_psf)
    assert abs(ours - theirs) <= max(0.10 * abs(theirs), 1.5 * error)


@pytest.mark.parametrize("source", [DIPOLE, FAINT_DIPOLE])
def test_residuals_of_stars_are_no_larger_than_rubins(source: str, rubin_stamps: Path):
    result, (d, _, _) = difference(rubin_stamps, source)
    good = usable(result)
    assert np.std(result.image[good]) <= 1.3 * np.std(d[good])
