"""PSF models from the classes of ``lsst.images``, and their moments."""

from typing import Any

import numpy as np
import numpy.typing as npt

from residua.storage.forms.wcs import rounded
from residua.subtraction.images import PsfModel, SpatialPolynomial

__all__ = ["psf_from_archive", "psf_moments"]

_GRID = 7
"""Positions along each axis at which an archive's PSF is sampled."""


def psf_from_archive(psf: Any, bbox: Any, *, order: int = 2) -> PsfModel | None:
    """Sample an ``lsst.images`` point-spread function and fit its pixels.

    Parameters
    ----------
    psf
        Any ``lsst.images`` PSF (Gaussian, Piff, cell PSF).
    bbox
        Bounding box of the image in the PSF's pixel coordinates.
    order
        Order of the spatial polynomial; 0 is used when the samples are all alike.

    Returns
    -------
    model
        float64 stamps of the PSF's own size (made odd), fitted by least squares with
        Chebyshev polynomials over the image; `None` if it could be sampled nowhere.
    """
    ny, nx = bbox.shape
    y0, x0 = bbox.start
    xs, ys, stamps = [], [], []
    for y in np.linspace(0.0, ny - 1.0, _GRID):
        for x in np.linspace(0.0, nx - 1.0, _GRID):
            # Whole pixels: piecewise PSFs are defined on cells of pixels.
            px, py = float(np.rint(x)), float(np.rint(y))
            stamp = _stamp(psf, px + x0, py + y0)
            if stamp is not None:
                xs.append(px)
                ys.append(py)
                stamps.append(stamp)
    if not stamps:
        return None
    data = np.stack(stamps)
    spread = float(np.abs(data - data[0]).max())
    fitted_order = 0 if spread <= 1e-6 * float(data.max()) else order
    while fitted_order and len(stamps) < 2 * (fitted_order + 1) * (fitted_order + 2) // 2:
        fitted_order -= 1
    polynomial = SpatialPolynomial((ny, nx), fitted_order)
    terms = polynomial.terms(np.array(xs), np.array(ys))
    coefficients, *_ = np.linalg.lstsq(terms, data.reshape(len(stamps), -1))
    return PsfModel(coefficients.reshape(-1, *data.shape[1:]), polynomial)


def _stamp(psf: Any, x: float, y: float) -> npt.NDArray[np.float64] | None:
    try:
        image = psf.compute_kernel_image(x=x, y=y)
    except Exception:  # noqa: BLE001 -- each PSF class has its own word for "not defined here"
        return None
    array = np.asarray(image.array, np.float64)
    # Square, odd and centred on the pixel that holds (0, 0).
    cy, cx = -image.bbox.y.start, -image.bbox.x.start
    half = min(cy, cx, array.shape[0] - 1 - cy, array.shape[1] - 1 - cx)
    array = array[cy - half : cy + half + 1, cx - half : cx + half + 1]
    total = array.sum()
    return array / total if np.isfinite(total) and total > 0.0 else None


def psf_moments(stamp: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return second moments (xx, yy, xy) of a stamp, pixels^2, with a Gaussian weight.

    Adaptive moments (Bernstein & Jarvis 2002): the weight is matched to the object by
    iteration; for a Gaussian the moments are its own. Rounded, see `rounded`.
    """
    half = stamp.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    m = np.diag([4.0, 4.0])
    for _ in range(100):
        inverse = np.linalg.inv(m)
        q = inverse[0, 0] * x * x + 2.0 * inverse[0, 1] * x * y + inverse[1, 1] * y * y
        w = stamp * np.exp(-0.5 * q)
        total = w.sum()
        if not total > 0.0:
            return float("nan"), float("nan"), float("nan")
        xx, yy, xy = (float((w * k).sum() / total) for k in (x * x, y * y, x * y))
        measured = 2.0 * np.array([[xx, xy], [xy, yy]])
        if not np.linalg.det(measured) > 0.0:
            return float("nan"), float("nan"), float("nan")
        if np.abs(measured - m).max() < 1e-6:
            break
        m = measured
    return rounded(m[0, 0]), rounded(m[1, 1]), rounded(m[0, 1])
