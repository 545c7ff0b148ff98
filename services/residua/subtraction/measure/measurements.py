"""All measurements of the detections of one difference image."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from residua.subtraction.detections import Detection
from residua.subtraction.images import FloatPlane
from residua.subtraction.masks import MaskBit
from residua.subtraction.measure.dipoles import fit_dipoles, opposite_lobes
from residua.subtraction.measure.measured_planes import MeasuredPlanes, SourcePeaks
from residua.subtraction.measure.photometry import (
    aperture_flux,
    disc,
    fit_psf,
    forced_flux,
    ring_median,
)
from residua.subtraction.measure.shapes import adaptive_moments, fit_trails
from residua.subtraction.measure.sky_places import scale_at_centre, sky_columns
from residua.subtraction.measure.source_stamps import cut_planes, psf_stamps

if TYPE_CHECKING:
    from astropy.wcs.wcsapi import BaseLowLevelWCS

__all__ = ["measure_detections"]

type Array = npt.NDArray[np.float64]
type Columns = dict[str, npt.NDArray[np.generic]]

_AT_ONCE = 64
"""Sources whose stamps are in memory together."""
_FWHM_PER_SIGMA = 2.3548
_FIT_RADIUS, _APERTURE, _RING, _SHIFT = 2.0, 2.6, (3.0, 5.0), 0.5
"""FWHM."""
_OWN_PLANES = int(MaskBit.DETECTED | MaskBit.DETECTED_NEGATIVE)
_EXTENDED, _EXTENDED_SIGMAS = 0.2, 5.0
_TRAIL_ELONGATION, _TRAIL_HALF = 4.0, 5.0
_EDGE = int(MaskBit.DETECTION_EDGE | MaskBit.NO_DATA)
_DEGREE = np.pi / 180.0


def measure_detections(
    peaks: SourcePeaks, planes: MeasuredPlanes, wcs: "BaseLowLevelWCS"
) -> tuple[Detection, ...]:
    """Measure the accepted peaks, in their order.

    Parameters
    ----------
    peaks
        Where.
    planes
        On what.
    wcs
        Celestial WCS of the difference, ICRS degrees.
    """
    scale = scale_at_centre(wcs, planes.image.shape)
    made: list[Detection] = []
    for start in range(0, len(peaks.x), _AT_ONCE):
        columns = _measure(peaks.select(slice(start, start + _AT_ONCE)), planes, wcs, scale)
        rows = zip(*(c.tolist() for c in columns.values()), strict=True)
        made += [Detection(**dict(zip(columns, row, strict=True))) for row in rows]
    return tuple(made)


def _measure(
    peaks: SourcePeaks, planes: MeasuredPlanes, wcs: "BaseLowLevelWCS", scale: float
) -> Columns:
    fwhm = planes.psf.fwhm()
    half = int(np.ceil(_APERTURE * fwhm)) + 1
    image, variance, good = planes.stamps(peaks.x, peaks.y, half)
    psf = psf_stamps(planes.psf, peaks.x, peaks.y, half)
    inside = disc(half, _FIT_RADIUS * fwhm)
    fit = fit_psf(image, variance, good, psf, (peaks.dx, peaks.dy), inside, max(1.5, _SHIFT * fwhm))
    x, y = peaks.x + fit.dx, peaks.y + fit.dy
    error = fit.flux_error * np.sqrt(peaks.variance_factor)
    aperture, aperture_error, truncated = aperture_flux(
        image, variance, good, fit.dx, fit.dy, _APERTURE * fwhm
    )
    outer = int(np.ceil(_RING[1] * fwhm))
    background = ring_median(
        cut_planes(planes.image, peaks.x, peaks.y, outer),
        cut_planes(planes.good, peaks.x, peaks.y, outer),
        _RING[0] * fwhm, _RING[1] * fwhm,
    )  # fmt: skip
    flags = cut_planes(planes.mask, peaks.x, peaks.y, half) & ~_OWN_PLANES
    near = np.bitwise_or.reduce(flags[:, disc(half, fwhm)], axis=1)
    centre = np.bitwise_or.reduce(flags[:, disc(half, 1.5)], axis=1)
    columns: Columns = {
        "x": x,
        "y": y,
        "signal_to_noise": fit.flux / error,
        "flux": fit.flux,
        "flux_error": error,
        "x_error": np.sqrt(fit.x_variance),
        "y_error": np.sqrt(fit.y_variance),
        "psf_chi2": fit.chi2,
        "psf_pixels": fit.pixels,
        "psf_flux_flag": ~fit.usable,
        "psf_flux_flag_no_good_pixels": fit.pixels == 0,
        "psf_flux_flag_edge": (near & _EDGE) != 0,
        "centroid_flag": ~fit.moved,
        "aperture_flux": aperture,
        "aperture_flux_error": aperture_error,
        "aperture_flux_flag": truncated,
        "aperture_flux_flag_truncated": truncated,
        "local_background": background,
        "mask": near,
        "mask_center": centre,
    }
    columns |= sky_columns(x, y, fit.x_variance, fit.y_variance, fit.xy_covariance, wcs)
    columns |= _fluxes_of_inputs(peaks, planes, (fit.dx, fit.dy), good)
    shapes, excess, extended = _shape_columns(
        peaks, (image, good), psf.at(np.zeros(len(x)), np.zeros(len(x))), fwhm, scale,
        np.abs(fit.flux) / error,
    )  # fmt: skip
    columns |= shapes
    columns |= _dipole_columns(peaks, planes, (image, variance, good & inside), fit.chi2, scale)
    columns |= _trail_columns(peaks, planes, (fit.dx, fit.dy), excess, extended, wcs, scale)
    return columns


def _fluxes_of_inputs(
    peaks: SourcePeaks,
    planes: MeasuredPlanes,
    at: tuple[Array, Array],
    good: npt.NDArray[np.bool_],
) -> Columns:
    """PSF fluxes on the visit image and on the matched template at the fitted places."""
    half = good.shape[1] // 2
    image = cut_planes(planes.science, peaks.x, peaks.y, half)
    variance = cut_planes(planes.science_variance, peaks.x, peaks.y, half)
    profiles = psf_stamps(planes.science_psf, peaks.x, peaks.y, half).at(*at)
    science, error, _ = forced_flux(image, variance, good, profiles)
    if planes.template_psf is not planes.science_psf:
        profiles = psf_stamps(planes.template_psf, peaks.x, peaks.y, half).at(*at)
    image = cut_planes(planes.template, peaks.x, peaks.y, half)
    template, _, _ = forced_flux(image, variance, good, profiles)
    return {"science_flux": science, "science_flux_error": error, "template_flux": template}


def _shape_columns(
    peaks: SourcePeaks,
    stamps: tuple[FloatPlane, npt.NDArray[np.bool_]],
    profiles: Array,
    fwhm: float,
    scale: float,
    significance: Array,
) -> tuple[Columns, Array, npt.NDArray[np.bool_]]:
    """Moments; also those beyond the PSF's, and which sources are clearly wider."""
    image, good = stamps
    start = (fwhm / _FWHM_PER_SIGMA) ** 2
    moments = adaptive_moments(image, good, peaks.sign, start)
    own = adaptive_moments(profiles, np.ones_like(good), np.ones(len(profiles)), start)
    failed = ~np.isfinite(moments).all(axis=1)
    size = (moments[:, 0] + moments[:, 1]) / (own[:, 0] + own[:, 1])
    limit = np.maximum(_EXTENDED, 2.0 * _EXTENDED_SIGMAS / np.maximum(significance, 1.0))
    extended = ~failed & (size - 1.0 > limit)
    columns: Columns = {
        name: values * scale**2
        for name, values in zip(
            ("ixx", "iyy", "ixy", "ixx_psf", "iyy_psf", "ixy_psf"),
            (*moments.T, *own.T),
            strict=True,
        )
    }
    columns["extendedness"] = np.where(failed, np.nan, extended.astype(np.float64))
    columns["shape_flag"] = failed
    return columns, moments - own, extended


def _dipole_columns(
    peaks: SourcePeaks,
    planes: MeasuredPlanes,
    stamps: tuple[FloatPlane, FloatPlane, npt.NDArray[np.bool_]],
    psf_chi2: Array,
    scale: float,
) -> Columns:
    image, variance, good = stamps
    half = image.shape[1] // 2
    n = len(peaks.x)
    sn = cut_planes(planes.signal_to_noise, peaks.x, peaks.y, half)
    far_x, far_y, found = opposite_lobes(sn, peaks.sign, planes.psf.fwhm())
    at = np.flatnonzero(found)
    out: Columns = {
        name: np.full(n, np.nan)
        for name in (
            "dipole_mean_flux", "dipole_mean_flux_error", "dipole_flux_difference",
            "dipole_flux_difference_error", "dipole_length", "dipole_angle", "dipole_chi2",
        )
    }  # fmt: skip
    out["dipole_pixels"], out["is_dipole"] = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    out["dipole_fit_attempted"] = found
    if at.size == 0:
        return out
    psf = psf_stamps(planes.psf, peaks.x[at], peaks.y[at], half)
    own = peaks.dx[at], peaks.dy[at]
    other = far_x[at], far_y[at]
    fit = fit_dipoles(image[at], variance[at], good[at], psf, own, other)
    square = fit.own_error**2 + fit.other_error**2
    # Of the two lobes, whichever was detected, the positive one less the negative one.
    along_x, along_y = ((a - b) * peaks.sign[at] for a, b in zip(own, other, strict=True))
    measured = {
        "dipole_mean_flux": 0.5 * (np.abs(fit.own) + np.abs(fit.other)),
        "dipole_mean_flux_error": 0.5 * np.sqrt(np.maximum(square - 2.0 * fit.covariance, 0.0)),
        "dipole_flux_difference": fit.own + fit.other,
        "dipole_flux_difference_error": np.sqrt(np.maximum(square + 2.0 * fit.covariance, 0.0)),
        "dipole_length": np.hypot(along_x, along_y) * scale,
        "dipole_angle": np.arctan2(along_y, along_x) / _DEGREE,
        "dipole_chi2": fit.chi2,
        "dipole_pixels": fit.pixels,
        "is_dipole": fit.is_dipole & (fit.chi2 < psf_chi2[at]),
    }
    for name, values in measured.items():
        out[name][at] = values
    return out


def _trail_columns(
    peaks: SourcePeaks,
    planes: MeasuredPlanes,
    centre: tuple[Array, Array],
    excess: Array,
    extended: npt.NDArray[np.bool_],
    wcs: "BaseLowLevelWCS",
    scale: float,
) -> Columns:
    """Fit a line to sources that are wider than the PSF in one direction."""
    n = len(peaks.x)
    names = ("trail_flux", "trail_ra", "trail_dec", "trail_length", "trail_angle")
    out: Columns = {name: np.full(n, np.nan) for name in names}
    out["trail_flag_edge"] = np.zeros(n, np.bool_)
    middle = 0.5 * (excess[:, 0] + excess[:, 1])
    spread = np.hypot(0.5 * (excess[:, 0] - excess[:, 1]), excess[:, 2])
    with np.errstate(invalid="ignore"):
        elongated = middle + spread > _TRAIL_ELONGATION * np.abs(middle - spread)
    at = np.flatnonzero(extended & elongated)
    if at.size == 0:
        return out
    x, y = peaks.x[at], peaks.y[at]
    half = int(np.ceil(_TRAIL_HALF * planes.psf.fwhm()))
    image, variance, good = planes.stamps(x, y, half)
    place = centre[0][at], centre[1][at]
    flux, length, angle = fit_trails(
        image, variance, good, psf_stamps(planes.psf, x, y, half), place, excess[at]
    )
    ra, dec = wcs.pixel_to_world_values(x + place[0], y + place[1])
    ny, nx = planes.image.shape
    reach_x, reach_y = (0.5 * length * np.abs(f(angle)) for f in (np.cos, np.sin))
    outside = (x - reach_x < 0) | (x + reach_x > nx - 1) | (y - reach_y < 0)
    outside |= y + reach_y > ny - 1
    for name, values in zip(
        (*names, "trail_flag_edge"),
        (flux, ra, dec, length * scale, angle / _DEGREE, outside),
        strict=True,
    ):
        out[name][at] = values
    return out
