"""One detection on a difference image, as it is measured, and what Rubin calls its fields."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from residua.subtraction.masks import MaskBit

__all__ = ["PIXEL_FLAGS", "Detection", "DetectionColumn", "detection_columns", "pixel_flags"]

_NAN = float("nan")

PIXEL_FLAGS: dict[str, MaskBit] = {
    "edge": MaskBit.DETECTION_EDGE,
    "interpolated": MaskBit.INTERPOLATED,
    "saturated": MaskBit.SATURATED | MaskBit.SAT_TEMPLATE,
    "cr": MaskBit.COSMIC_RAY,
    "bad": MaskBit.BAD | MaskBit.UNMASKED_NAN,
    "suspect": MaskBit.SUSPECT,
    "streak": MaskBit.STREAK,
    "nodata": MaskBit.NO_DATA,
}
"""Rubin's pixel flags and the planes they stand for; each also has a form ``...Center``."""


def _column(rubin: str, unit: str, description: str, **options: Any) -> Any:
    metadata = {"rubin": rubin, "unit": unit, "description": description}
    return field(metadata=metadata, **options)


def _number(rubin: str, unit: str, description: str) -> Any:
    """Declare a column that stays NaN where it was not measured."""
    return _column(rubin, unit, description, default=_NAN)


def _flag(rubin: str, description: str) -> Any:
    return _column(rubin, "", description, default=False)


@dataclass(frozen=True)
class Detection:
    """One source of the difference image, positive or negative.

    Fluxes are in the unit of the image (``"flux"`` stands for it in the columns' units). What
    could not be measured is NaN. Each field knows its name in Rubin's ``DiaSource``, its unit and
    its meaning: see `detection_columns`. Fluxes of models weigh all pixels alike and propagate
    the variance.
    """

    x: float = _column("x", "pixel", "0-based pixel position.")
    y: float = _column("y", "pixel", "0-based pixel position.")
    ra: float = _column("ra", "deg", "Right ascension, ICRS.")
    dec: float = _column("dec", "deg", "Declination, ICRS.")
    signal_to_noise: float = _column("snr", "", "PSF flux over its error; negative if it faded.")
    flux: float = _column("psfFlux", "flux", "PSF flux.")
    flux_error: float = _column("psfFluxErr", "flux", "Standard error of the PSF flux.")
    x_error: float = _number("xErr", "pixel", "Standard error of x.")
    y_error: float = _number("yErr", "pixel", "Standard error of y.")
    ra_error: float = _number("raErr", "deg", "Standard error of ra times cos(dec).")
    dec_error: float = _number("decErr", "deg", "Standard error of dec.")
    ra_dec_covariance: float = _number("ra_dec_Cov", "deg**2", "Covariance of ra and dec.")
    psf_chi2: float = _number("psfChi2", "", "Chi^2 of the PSF fit.")
    psf_pixels: int = _column("psfNdata", "pixel", "Pixels in the PSF fit.", default=0)
    psf_flux_flag: bool = _flag("psfFlux_flag", "The PSF flux is not to be trusted.")
    psf_flux_flag_no_good_pixels: bool = _flag(
        "psfFlux_flag_noGoodPixels", "No good pixel for the PSF fit."
    )
    psf_flux_flag_edge: bool = _flag("psfFlux_flag_edge", "The PSF fit reached the edge.")
    centroid_flag: bool = _flag("centroid_flag", "The position is that of the peak's pixel.")
    aperture_flux: float = _number("apFlux", "flux", "Flux within 2.6 FWHM of the PSF.")
    aperture_flux_error: float = _number("apFluxErr", "flux", "Its standard error.")
    aperture_flux_flag: bool = _flag("apFlux_flag", "The aperture flux is not to be trusted.")
    aperture_flux_flag_truncated: bool = _flag(
        "apFlux_flag_apertureTruncated", "Unusable pixels or the edge lie in the aperture."
    )
    local_background: float = _number(
        "localBackground", "flux", "Median of the difference between 3 and 5 FWHM, per pixel."
    )
    science_flux: float = _number("scienceFlux", "flux", "PSF flux on the visit image there.")
    science_flux_error: float = _number("scienceFluxErr", "flux", "Its standard error.")
    template_flux: float = _number(
        "templateFlux", "flux", "PSF flux on the matched template there."
    )
    ixx: float = _number("ixx", "arcsec**2", "Adaptive second moment, along x.")
    iyy: float = _number("iyy", "arcsec**2", "Adaptive second moment, along y.")
    ixy: float = _number("ixy", "arcsec**2", "Adaptive second moment, mixed.")
    ixx_psf: float = _number("ixxPSF", "arcsec**2", "The same of the PSF there.")
    iyy_psf: float = _number("iyyPSF", "arcsec**2", "The same of the PSF there.")
    ixy_psf: float = _number("ixyPSF", "arcsec**2", "The same of the PSF there.")
    extendedness: float = _number(
        "extendedness", "", "1 if significantly wider than the PSF, else 0."
    )
    shape_flag: bool = _flag("shape_flag", "The moments could not be measured.")
    dipole_fit_attempted: bool = _flag("dipoleFitAttempted", "A dipole was fitted.")
    is_dipole: bool = _flag("isDipole", "Two lobes of opposite sign describe it.")
    dipole_mean_flux: float = _number("dipoleMeanFlux", "flux", "Mean absolute flux of the lobes.")
    dipole_mean_flux_error: float = _number("dipoleMeanFluxErr", "flux", "Its standard error.")
    dipole_flux_difference: float = _number(
        "dipoleFluxDiff", "flux", "Flux of the positive lobe less that of the negative one."
    )
    dipole_flux_difference_error: float = _number(
        "dipoleFluxDiffErr", "flux", "Its standard error."
    )
    dipole_length: float = _number("dipoleLength", "arcsec", "Distance of the lobes.")
    dipole_angle: float = _number(
        "dipoleAngle", "deg", "From the negative to the positive lobe, from x towards y."
    )
    dipole_chi2: float = _number("dipoleChi2", "", "Chi^2 of the dipole fit.")
    dipole_pixels: int = _column("dipoleNdata", "pixel", "Pixels in the dipole fit.", default=0)
    trail_flux: float = _number("trailFlux", "flux", "Flux of the PSF drawn out along a line.")
    trail_ra: float = _number("trailRa", "deg", "Centre of the line, ICRS.")
    trail_dec: float = _number("trailDec", "deg", "Centre of the line, ICRS.")
    trail_length: float = _number("trailLength", "arcsec", "Length of the line.")
    trail_angle: float = _number("trailAngle", "deg", "Direction of the line, from x towards y.")
    trail_flag_edge: bool = _flag("trail_flag_edge", "The line reaches the edge.")
    mask: int = _column("", "", "Planes of all pixels within one FWHM, as bits.", default=0)
    mask_center: int = _column("", "", "Planes of the 3 x 3 central pixels, as bits.", default=0)


@dataclass(frozen=True)
class DetectionColumn:
    """A column of a table of detections.

    Parameters
    ----------
    field
        Name in `Detection`.
    rubin
        Name in Rubin's ``DiaSource`` (two have none there: ``localBackground`` and
        ``templateFlux``).
    unit
        FITS unit; ``"flux"`` for the image's own.
    description
        One sentence.
    type
        ``float``, ``int`` or ``bool``.
    """

    field: str
    rubin: str
    unit: str
    description: str
    type: type[float | int | bool]


def detection_columns() -> Iterator[DetectionColumn]:
    """Columns of a table of detections, in order; the mask's planes are in `pixel_flags`."""
    for f in fields(Detection):
        if f.metadata["rubin"]:
            kind = f.type if isinstance(f.type, type) else float
            yield DetectionColumn(
                f.name, f.metadata["rubin"], f.metadata["unit"], f.metadata["description"], kind
            )


def pixel_flags(detection: Detection) -> dict[str, bool]:
    """Rubin's ``pixelFlags`` of a detection by name, those of its centre included."""
    flags = {}
    for name, planes in PIXEL_FLAGS.items():
        flags[f"pixelFlags_{name}"] = bool(detection.mask & planes)
        flags[f"pixelFlags_{name}Center"] = bool(detection.mask_center & planes)
    flags["pixelFlags"] = any(flags.values())
    return flags
