"""Measurements of single sources, against what was put there."""

import dataclasses

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.subtraction.images import PsfModel, SpatialPolynomial
from residua.subtraction.masks import MaskBit
from residua.subtraction.measure.forced import forced_photometry
from residua.subtraction.measure.measured_planes import MeasuredPlanes, SourcePeaks
from residua.subtraction.measure.measurements import measure_detections

SHAPE = (240, 260)
SCALE = 0.2
NONE = np.zeros(0)


def wcs():
    result = WCS(naxis=2)
    result.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    result.wcs.crval, result.wcs.crpix = [150.0, 60.0], [130.0, 120.0]
    result.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return result


def draw(plane, x, y, flux, sigma):
    b, a = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    r2 = (a - x) ** 2 + (b - y) ** 2
    plane += flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * r2 / sigma**2)


def planes(image, sigma, *, noise=1.0, seed=1, mask=None):
    """The sources with white noise; the "visit" has 1000 more at every place of the sources."""
    rng = np.random.default_rng(seed)
    noisy = (image + noise * rng.normal(0.0, 1.0, SHAPE)).astype(np.float32)
    variance = np.full(SHAPE, max(noise, 1e-3) ** 2, np.float32)
    offset = np.arange(-20, 21)
    stamp = np.exp(-0.5 * (offset**2 + offset[:, None] ** 2) / sigma**2)
    psf = PsfModel((stamp / stamp.sum())[None], SpatialPolynomial(SHAPE, 0))
    mask = np.zeros(SHAPE, np.int32) if mask is None else mask
    return MeasuredPlanes(
        image=noisy, variance=variance, psf=psf, signal_to_noise=noisy, good=mask == 0, mask=mask,
        science=noisy, science_variance=variance, science_psf=psf, template=noisy * 0,
        template_psf=psf,
    )  # fmt: skip


def measured(measured_planes, sources, factor=1.0):
    x, y = (np.rint([s[k] for s in sources]).astype(np.int64) for k in (0, 1))
    sign = np.sign([s[2] for s in sources])
    n = len(sources)
    peaks = SourcePeaks(x, y, np.zeros(n), np.zeros(n), sign, np.full(n, factor))
    return measure_detections(peaks, measured_planes, wcs())


@pytest.mark.parametrize("sigma", [0.75, 0.9, 1.2, 2.0, 5.0])
def test_flux_and_position_have_no_bias_however_sampled(sigma):
    rng = np.random.default_rng(7)
    sources = [
        (x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5), s * 60.0 * sigma)
        for x, y, s in [(60, 60, 1), (180, 60, -1), (60, 180, 1), (180, 180, -1), (120, 120, 1)]
    ]
    image = np.zeros(SHAPE)
    for x, y, flux in sources:
        draw(image, x, y, flux, sigma)
    pulls = []
    for seed in range(12):
        for d, (x, y, flux) in zip(
            measured(planes(image, sigma, seed=seed), sources), sources, strict=True
        ):
            assert d.flux_error == pytest.approx(2.0 * np.sqrt(np.pi) * sigma, rel=0.2)
            assert np.sign(d.signal_to_noise) == np.sign(flux)
            pulls.append(
                ((d.flux - flux) / d.flux_error * np.sign(flux), (d.x - x) / d.x_error,
                 (d.y - y) / d.y_error)
            )  # fmt: skip
    mean, scatter = np.mean(pulls, axis=0), np.std(pulls, axis=0)
    assert np.all(np.abs(mean) < 0.5)
    assert np.all(np.abs(scatter - 1.0) < 0.35)


def test_all_columns_of_a_point_source():
    image = np.zeros(SHAPE)
    source = (120.3, 110.8, 3000.0)
    draw(image, *source, 2.0)
    (d,) = measured(planes(image, 2.0), [source])
    assert (d.x, d.y) == pytest.approx(source[:2], abs=0.02)
    ra, dec = wcs().pixel_to_world_values(d.x, d.y)
    assert (d.ra, d.dec) == pytest.approx((float(ra), float(dec)))
    assert d.ra_error == pytest.approx(d.x_error * SCALE / 3600.0, rel=0.02)
    assert d.aperture_flux == pytest.approx(source[2], abs=4 * d.aperture_flux_error)
    assert d.aperture_flux_error == pytest.approx(np.sqrt(np.pi) * 2.6 * 2.0 * 2.3548, rel=0.05)
    assert not d.aperture_flux_flag
    assert abs(d.local_background) < 0.3
    assert d.science_flux == pytest.approx(d.flux, rel=1e-6)
    assert d.template_flux == pytest.approx(0.0, abs=1e-6)
    for value, own in ((d.ixx, d.ixx_psf), (d.iyy, d.iyy_psf)):
        assert own == pytest.approx((2.0 * SCALE) ** 2, rel=0.02)
        assert value == pytest.approx(own, rel=0.05)
    assert d.extendedness == 0.0
    assert d.psf_chi2 / d.psf_pixels == pytest.approx(1.0, abs=0.4)
    assert (d.is_dipole, d.shape_flag, d.centroid_flag, d.psf_flux_flag) == (False,) * 4
    assert np.isnan(d.trail_length)
    assert d.mask == 0


def test_noise_of_the_fit_widens_the_error_alone():
    image = np.zeros(SHAPE)
    draw(image, 120, 110, 300.0, 2.0)
    plain, wide = (measured(planes(image, 2.0), [(120, 110, 1.0)], factor=f)[0] for f in (1.0, 4.0))
    assert wide.flux == plain.flux
    assert wide.flux_error == pytest.approx(2.0 * plain.flux_error)
    assert wide.signal_to_noise == pytest.approx(plain.signal_to_noise / 2.0)


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.2])
def test_dipole_is_told_from_a_point_source(angle):
    image = np.zeros(SHAPE)
    dx, dy = 3.0 * np.cos(angle), 3.0 * np.sin(angle)
    draw(image, 120 + dx, 110 + dy, 900.0, 2.0)
    draw(image, 120 - dx, 110 - dy, -800.0, 2.0)
    (d,) = measured(planes(image, 2.0), [(120 + dx, 110 + dy, 1.0)])
    assert d.dipole_fit_attempted
    assert d.is_dipole
    assert d.dipole_mean_flux == pytest.approx(850.0, abs=5 * d.dipole_mean_flux_error + 80)
    assert d.dipole_flux_difference == pytest.approx(100.0, abs=60.0)
    assert d.dipole_length == pytest.approx(6.0 * SCALE, abs=1.5 * SCALE)
    assert d.dipole_angle % 360.0 == pytest.approx(np.degrees(angle), abs=12.0)
    assert d.dipole_chi2 < d.psf_chi2


@pytest.mark.parametrize("length", [10.0, 18.0])
def test_trail_has_its_length_direction_and_flux(length):
    image = np.zeros(SHAPE)
    for t in np.linspace(-0.5, 0.5, 60):
        draw(image, 130 + length * t * np.cos(0.5), 120 + length * t * np.sin(0.5), 100.0, 2.0)
    (d,) = measured(planes(image, 2.0), [(130, 120, 1.0)])
    assert d.extendedness == 1.0
    assert d.trail_length == pytest.approx(length * SCALE, rel=0.12)
    assert d.trail_angle == pytest.approx(np.degrees(0.5), abs=4.0)
    assert d.trail_flux == pytest.approx(6000.0, rel=0.06)
    assert not d.trail_flag_edge


def test_masked_and_lost_pixels_are_told():
    image = np.zeros(SHAPE)
    draw(image, 120, 110, 900.0, 2.0)
    mask = np.zeros(SHAPE, np.int32)
    mask[110, 123] = int(MaskBit.BAD)
    (near,) = measured(planes(image, 2.0, mask=mask), [(120, 110, 1.0)])
    assert near.mask == int(MaskBit.BAD)
    assert near.mask_center == 0
    assert near.aperture_flux_flag_truncated
    assert near.flux == pytest.approx(900.0, abs=5 * near.flux_error)
    mask[100:130, 100:140] = int(MaskBit.NO_DATA)
    (lost,) = measured(planes(image, 2.0, mask=mask), [(120, 110, 1.0)])
    assert lost.psf_flux_flag
    assert lost.psf_flux_flag_no_good_pixels
    assert np.isnan(lost.flux)
    (edge,) = measured(planes(image, 2.0), [(1, 1, 1.0)])
    assert edge.aperture_flux_flag_truncated or np.isfinite(edge.aperture_flux)


def test_forced_photometry_is_honest_on_empty_sky_and_on_sources():
    image = np.zeros(SHAPE)
    draw(image, 120.4, 110.3, 900.0, 2.0)
    made = planes(image, 2.0)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(15, 245, 400), rng.uniform(15, 225, 400)
    far = np.hypot(x - 120, y - 110) > 25
    ra, dec = wcs().pixel_to_world_values(x[far], y[far])
    empty = forced_photometry(made.image, made.variance, made.mask, made.psf, wcs(), ra, dec)
    pull = np.array([f.flux / f.flux_error for f in empty])
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1.0, abs=0.12)
    ra, dec = wcs().pixel_to_world_values([120.4, -50.0, 0.2], [110.3, 20.0, 0.2])
    source, outside, corner = forced_photometry(
        made.image, made.variance, made.mask, made.psf, wcs(), ra, dec
    )
    assert source.flux == pytest.approx(900.0, abs=4 * source.flux_error)
    assert outside.off_image
    assert np.isnan(outside.flux)
    assert not corner.off_image
    assert not np.isfinite(corner.flux) or corner.flux_error > source.flux_error


def test_thousands_of_sources_are_measured_in_pieces():
    image = np.zeros(SHAPE)
    draw(image, 120, 110, 900.0, 2.0)
    made = planes(image, 2.0)
    one = measured(made, [(120, 110, 1.0)])[0]
    many = measured(made, [(120, 110, 1.0)] * 600)
    assert len(many) == 600
    for d in (many[0], many[300], many[-1]):
        # NaN is not itself.
        for a, b in zip(dataclasses.astuple(d), dataclasses.astuple(one), strict=True):
            assert a == pytest.approx(b, nan_ok=True)
