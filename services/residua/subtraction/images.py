"""What goes into a subtraction and what comes out: arrays with units and frames.

Arrays are indexed ``[y, x]``; pixel ``(x, y)`` has its centre at the 0-based coordinate
``(x, y)``. All planes of one image share one shape.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from residua.subtraction.detections import Detection
from residua.subtraction.quality import QualityRecord

if TYPE_CHECKING:
    # astropy.wcs takes a second to import; who wants a type alone need not wait.
    from astropy.wcs.wcsapi import BaseLowLevelWCS

__all__ = [
    "ConvolvedImage",
    "DifferenceImage",
    "MatchingKernel",
    "PsfModel",
    "ScienceImage",
    "SpatialPolynomial",
    "TemplateImage",
]

type FloatPlane = npt.NDArray[np.float32]
type MaskPlane = npt.NDArray[np.int32]
type ConvolvedImage = Literal["template", "science"]


@dataclass(frozen=True)
class SpatialPolynomial:
    """Chebyshev polynomials over a detector: terms ``T_i(v) T_j(u)`` with ``i + j <= order``.

    ``u`` and ``v`` are x and y scaled so that the pixel *centres* ``0`` and ``n - 1`` lie half
    a pixel inside ``-1`` and ``+1``: ``u = (2 x + 1) / nx - 1``. This is the convention of
    ``lsst.images`` ``ChebyshevField`` for a box ``[0:ny, 0:nx]``.

    Parameters
    ----------
    shape
        (ny, nx) of the detector, pixels.
    order
        Highest total degree.
    """

    shape: tuple[int, int]
    order: int

    @property
    def exponents(self) -> list[tuple[int, int]]:
        """Degrees (i in y, j in x) of each term, by total degree, then by i."""
        return [(i, n - i) for n in range(self.order + 1) for i in range(n + 1)]

    def terms(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Values of all terms at pixel positions; shape ``broadcast(x, y).shape + (n_terms,)``."""
        ny, nx = self.shape
        u = (2.0 * np.asarray(x, np.float64) + 1.0) / nx - 1.0
        v = (2.0 * np.asarray(y, np.float64) + 1.0) / ny - 1.0
        u, v = np.broadcast_arrays(u, v)
        t_u = np.polynomial.chebyshev.chebvander(u, self.order)
        t_v = np.polynomial.chebyshev.chebvander(v, self.order)
        terms = np.stack([t_v[..., i] * t_u[..., j] for i, j in self.exponents], axis=-1)
        # chebvander makes vectors of scalars.
        return terms.reshape((*u.shape, len(self.exponents)))


@dataclass(frozen=True)
class PsfModel:
    """A point-spread function as pixels with spatially varying values.

    Parameters
    ----------
    coefficients
        float64 (n_terms, size, size); ``size`` odd, star centred on the central pixel.
    polynomial
        The spatial terms the coefficients multiply.
    """

    coefficients: npt.NDArray[np.float64]
    polynomial: SpatialPolynomial

    @property
    def size(self) -> int:
        """Side of the stamp, pixels."""
        return int(self.coefficients.shape[-1])

    def rounded(self, bits: int) -> "PsfModel":
        """With coefficients that are multiples of ``2^-bits``: the form in which it is kept."""
        # Adding zero leaves no negative zeros, which integers do not have.
        values = np.rint(self.coefficients * 2.0**bits) / 2.0**bits + 0.0
        return PsfModel(values, self.polynomial)

    def stamp(self, x: float, y: float) -> npt.NDArray[np.float64]:
        """Float64 (size, size) image of a star of unit flux centred on the central pixel."""
        pixels = np.tensordot(self.polynomial.terms(x, y), self.coefficients, axes=(0, 0))
        return np.asarray(pixels / pixels.sum(), dtype=np.float64)

    def fwhm(self, x: float | None = None, y: float | None = None) -> float:
        """Full width at half maximum in pixels, of the Gaussian with the same effective area.

        ``neff = 1 / sum(P^2) = 4 pi sigma^2``. Default position: the centre of the detector.
        """
        ny, nx = self.polynomial.shape
        stamp = self.stamp(
            (nx - 1) / 2 if x is None else x,
            (ny - 1) / 2 if y is None else y,
        )
        sigma = np.sqrt(1.0 / (4.0 * np.pi * np.sum(stamp**2)))
        return float(2.0 * np.sqrt(2.0 * np.log(2.0)) * sigma)


@dataclass(frozen=True)
class ScienceImage:
    """One detector of one visit.

    Parameters
    ----------
    image
        float32 (ny, nx), background-subtracted flux in ``unit``.
    variance
        float32 (ny, nx), ``unit**2``.
    mask
        int32 (ny, nx), bits of `residua.subtraction.masks.MaskBit`.
    wcs
        Celestial WCS, ICRS degrees, APE 14 low-level interface.
    psf
        PSF model, or `None` to have it measured from the image's own stars.
    unit
        Unit of ``image``: ``"nJy"`` once calibrated, else the unit of the file.
    """

    image: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    wcs: "BaseLowLevelWCS"
    psf: PsfModel | None = None
    unit: str = "nJy"


@dataclass(frozen=True)
class TemplateImage:
    """A template coadd, or one patch of it, on its own WCS; planes as in `ScienceImage`.

    Parameters
    ----------
    name
        How this patch is named in errors and provenance (for example its URI).
    """

    image: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    wcs: "BaseLowLevelWCS"
    psf: PsfModel | None = None
    unit: str = "nJy"
    name: str = "template"


@dataclass(frozen=True)
class MatchingKernel:
    """The PSF-matching kernel (Alard & Lupton 1998), spatially varying.

    ``K(x, y) = sum_b (coefficients[b] . terms(x, y)) basis[b]``; its sum is the photometric
    scale between the two images.

    Parameters
    ----------
    basis
        float64 (n_basis, size, size).
    coefficients
        float64 (n_basis, n_terms).
    polynomial
        Spatial terms of ``coefficients``.
    background
        float64 (n_background_terms,): differential background, unit of the image.
    background_polynomial
        Spatial terms of ``background``.
    """

    basis: npt.NDArray[np.float64]
    coefficients: npt.NDArray[np.float64]
    polynomial: SpatialPolynomial
    background: npt.NDArray[np.float64]
    background_polynomial: SpatialPolynomial

    def stamp(self, x: float, y: float) -> npt.NDArray[np.float64]:
        """Float64 (size, size) kernel at a pixel position."""
        weights = self.coefficients @ self.polynomial.terms(x, y)
        return np.asarray(np.tensordot(weights, self.basis, axes=(0, 0)), dtype=np.float64)


@dataclass(frozen=True)
class DifferenceImage:
    """Visit minus PSF-matched template coadd, decorrelated, on the visit's pixel grid.

    Parameters
    ----------
    image, variance, mask
        As in `ScienceImage`; pixels without template coverage are NaN in ``image`` and
        ``variance`` and carry ``NO_DATA``.
    wcs
        The visit's WCS.
    psf
        PSF of the *difference*, changed by the decorrelation (DMTN-021).
    science_psf
        PSF model of the visit image that was used (given or measured).
    unit
        Unit of ``image``.
    kernel
        The PSF-matching kernel.
    convolved
        Which input was convolved with it.
    matched_template
        float32 (ny, nx): the template on the visit's grid, matched (or, when the science
        image was convolved, warped only), for the preview. NaN where there is no template.
    detections
        Peaks with abs(S/N) at or above the threshold, brightest first.
    quality
        Numbers that say how far this image can be trusted.
    """

    image: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    wcs: "BaseLowLevelWCS"
    psf: PsfModel
    science_psf: PsfModel
    unit: str
    kernel: MatchingKernel
    convolved: ConvolvedImage
    matched_template: FloatPlane
    detections: tuple[Detection, ...]
    quality: QualityRecord
