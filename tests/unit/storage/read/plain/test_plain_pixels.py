"""The pixels of plain files as observatories write them: noise, weights, masks, fills, ceilings.

One small field of stars in counts with a known gain; each test writes it in another convention,
and the truth is the same field.
"""

import numpy as np
import pytest
from astropy.io import fits

from residua.errors import UnusableImageError
from residua.subtraction.masks import MaskBit

N, SKY, GAIN, READ_NOISE = 320, 400.0, 2.0, 5.0
RNG = np.random.default_rng(5)


def _stars():
    y, x = np.mgrid[:N, :N]
    image = np.zeros((N, N))
    positions = RNG.uniform(12, N - 12, (40, 2))
    for (cx, cy), flux in zip(positions, 10 ** RNG.uniform(3, 5, 40), strict=True):
        image += flux / (2 * np.pi * 1.7**2) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 5.78)
    return image


SOURCES = _stars()
VARIANCE = ((SOURCES + SKY) / GAIN + (READ_NOISE / GAIN) ** 2).astype("f4")
SIGMA = float(np.sqrt(np.median(VARIANCE)))
BRIGHT = 0.3 * SOURCES.max() < SOURCES


def counts(gain=GAIN, frames=1):
    electrons = RNG.poisson((SOURCES + SKY) * gain * frames) / gain / frames
    noise = RNG.normal(0, READ_NOISE / gain / np.sqrt(frames), (N, N))
    return (electrons + noise).astype("f4")


COUNTS = counts()


def cards(**more):
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    wcs |= {"CRPIX1": 160.0, "CRPIX2": 160.0, "CD1_1": -1.4e-4, "CD2_2": 1.4e-4}
    return fits.Header({**wcs, **more}.items())


@pytest.fixture
def got(tmp_path, read):
    def got(*hdus, **options):
        path = tmp_path / "x.fits"
        fits.HDUList(list(hdus)).writeto(path, overwrite=True, output_verify="silentfix")
        return read(path, **options)

    return got


def sky_sigma(contents):
    return float(np.sqrt(np.nanmedian(contents.variance)))


def plane(data, name, **more):
    hdu = fits.ImageHDU(np.asarray(data), name=name)
    hdu.header.update(more)
    return hdu


ADU = {"GAIN": GAIN, "RDNOISE": READ_NOISE}


@pytest.mark.parametrize(
    ("pixels", "more"),
    [
        (COUNTS, ADU),
        (COUNTS, {"GAIN": "2.0", "RDNOISE": "5.0"}),
        (COUNTS - np.float32(SKY), ADU),
        (COUNTS, {"GAIN": 100, "EGAIN": GAIN, "OFFSET": 50}),
        (counts(GAIN, 10), ADU | {"NCOMBINE": 10}),
        (COUNTS / np.float32(65536.0), ADU),
        (COUNTS / np.float32(60.0), {**ADU, "BUNIT": "adu/s", "EXPTIME": 60.0}),
        (COUNTS * np.float32(GAIN), {"BUNIT": "ELECTRONS", "RDNOISE": READ_NOISE, "GAIN": 7.0}),
        ((COUNTS + np.float32(0.5)).astype("u2"), ADU),
    ],
    ids=["plain", "quoted", "sky off", "camera's GAIN", "mean of 10", "0..1", "rate", "e-", "u16"],
)
def test_the_noise_is_that_of_the_pixels(got, pixels, more):
    contents = got(fits.PrimaryHDU(pixels, cards(**more)))
    scatter = contents.image[~BRIGHT & (SOURCES < 1.0)]
    measured = 1.4826 * np.median(np.abs(scatter - np.median(scatter)))
    assert sky_sigma(contents) == pytest.approx(measured, rel=0.06)
    # And on the stars, where their own photons count.
    truth = VARIANCE[BRIGHT] * (measured / SIGMA) ** 2
    assert np.median(contents.variance[BRIGHT] / truth) == pytest.approx(1.0, abs=0.17)


def test_the_gain_of_fluxes_is_used_where_the_bright_pixels_allow_it_and_named(got):
    for unit, factor in (("nJy", 1.0), ("uJy", 1e3), ("nanomaggy", 3631.0)):
        contents = got(fits.PrimaryHDU(COUNTS - np.float32(SKY), cards(**ADU, BUNIT=unit)))
        assert sky_sigma(contents) == pytest.approx(SIGMA * factor, rel=0.03)
        truth = VARIANCE[BRIGHT] * factor**2
        assert np.median(contents.variance[BRIGHT] / truth) == pytest.approx(1.0, abs=0.17)
        assert any("GAIN = 2 is taken" in note for note in contents.report.notes)


def test_a_gain_that_belongs_to_other_pixels_is_not_used_and_named(got):
    fluxes = (COUNTS - np.float32(SKY)) * np.float32(0.005)
    contents = got(fits.PrimaryHDU(fluxes, cards(**ADU, BUNIT="nanomaggy")))
    assert sky_sigma(contents) == pytest.approx(SIGMA * 0.005 * 3631.0, rel=0.03)
    assert any("GAIN = 2 is not used" in note for note in contents.report.notes)
    # With the zero point of the counts it is known what a count was: 18.2 nJy.
    zero_point = 31.4 - 2.5 * np.log10(0.005 * 3631.0)
    known = got(fits.PrimaryHDU(fluxes, cards(**ADU, BUNIT="nanomaggy", MAGZERO=zero_point)))
    truth = VARIANCE[BRIGHT] * (0.005 * 3631.0) ** 2
    assert np.median(known.variance[BRIGHT] / truth) == pytest.approx(1.0, abs=0.17)


@pytest.mark.parametrize(
    ("name", "data", "more"),
    [
        ("VARIANCE", VARIANCE, {}),
        ("ERR", np.sqrt(VARIANCE), {}),
        ("WEIGHT", 1.0 / VARIANCE, {}),
        ("WGT", 1.0 / VARIANCE, {}),
        ("IVAR", 1.0 / VARIANCE, {}),
        ("UNCERT", VARIANCE, {"UTYPE": "VarianceUncertainty"}),
        ("UNCERT", 1.0 / VARIANCE, {"UTYPE": "InverseVariance"}),
        ("UNCERT", np.sqrt(VARIANCE), {"UTYPE": "StdDevUncertainty"}),
        ("UNCERT", VARIANCE, {}),
        ("SIGMA", VARIANCE, {"BUNIT": "adu2"}),
        ("WEIGHT", np.full((N, N), 5.0), {}),
        ("WHT", np.full((N, N), 2000.0), {}),
        ("WEIGHT_MAP", 17.0 / VARIANCE, {}),
        ("CONF", np.full((N, N), 100.0), {}),
        ("VARIANCE", 40.0 * VARIANCE, {}),
        ("ERR", 0.1 * np.sqrt(VARIANCE), {}),
    ],
)
def test_planes_mean_what_the_pixels_say(got, name, data, more):
    noise = plane(np.asarray(data, "f4"), name, **more)
    contents = got(fits.PrimaryHDU(COUNTS, cards(GAIN=GAIN)), noise)
    assert sky_sigma(contents) == pytest.approx(SIGMA, rel=0.06)
    assert contents.report.noise_ratio == pytest.approx(1.0, abs=0.12)


def test_uncorrelated_is_not_asked_of_resampled_pixels(got):
    # A coadd's pixels are smoother than its variance plane: the plane is right.
    smooth = COUNTS.copy()
    smooth[:, 1:] = 0.5 * (COUNTS[:, 1:] + COUNTS[:, :-1])
    smooth[1:] = 0.5 * (smooth[1:] + smooth[:-1])
    contents = got(fits.PrimaryHDU(smooth, cards()), plane(VARIANCE, "VARIANCE"))
    assert sky_sigma(contents) == pytest.approx(SIGMA, rel=0.02)


FILLS = [0.0, -32768.0, -1e30, np.nan, np.inf]


@pytest.mark.parametrize("value", FILLS)
def test_fill_values_are_no_data(got, value):
    pixels = COUNTS.copy()
    pixels[:, :60] = value
    pixels[200:230, 200:240] = value
    contents = got(fits.PrimaryHDU(pixels, cards(**ADU)))
    blank = np.zeros((N, N), bool)
    blank[:, :60] = blank[200:230, 200:240] = True
    assert np.array_equal(contents.mask & MaskBit.NO_DATA != 0, blank)
    assert sky_sigma(contents) == pytest.approx(SIGMA, rel=0.03)
    assert np.all(np.isfinite(contents.variance[~blank]))


def test_a_few_infinities_stay_where_they_are(got):
    pixels = COUNTS.copy()
    pixels[100:104, 100:104] = np.inf
    contents = got(fits.PrimaryHDU(pixels, cards(**ADU)))
    assert int((contents.mask & MaskBit.NO_DATA != 0).sum()) == 16


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_an_image_of_one_value_is_none(got, value):
    with pytest.raises(UnusableImageError, match="no usable pixel"):
        got(fits.PrimaryHDU(np.full((N, N), value, "f4"), cards(**ADU)))


@pytest.mark.parametrize("more", [{}, {"SATURATE": 1500.0}, {"SATURVAL": 1500.0}])
def test_stars_cut_off_flat_are_saturated(got, more):
    pixels = np.minimum(COUNTS, np.float32(1500.0))
    contents = got(fits.PrimaryHDU(pixels, cards(**ADU, **more)))
    assert np.array_equal(contents.mask & MaskBit.SATURATED != 0, pixels == 1500.0)


def test_sixteen_bits_end_at_65535(got):
    pixels = np.clip(COUNTS * 40, 0, 65535).astype("u2")
    contents = got(fits.PrimaryHDU(pixels, cards(**ADU)))
    assert np.array_equal(contents.mask & MaskBit.SATURATED != 0, pixels == 65535)
    assert any("no saturation level" in note for note in contents.report.notes)


@pytest.mark.parametrize("pedestal", [0, 16768])
def test_unsigned_numbers_without_bzero_are_unwrapped_and_said(got, pedestal):
    unsigned = np.clip(COUNTS * 40 + pedestal, 0, 65535)
    wrapped = unsigned.astype("u2").view("i2")
    assert (wrapped < 0).sum() > 50
    contents = got(fits.PrimaryHDU(wrapped, cards(**ADU)))
    truth = got(fits.PrimaryHDU(np.floor(unsigned).astype("f4"), cards(**ADU)))
    assert np.allclose(contents.image, truth.image, rtol=0, atol=1e-2, equal_nan=True)
    assert any("unsigned numbers without BZERO" in note for note in contents.report.notes)


def test_signed_numbers_that_are_meant_stay(got):
    pixels = np.round(COUNTS - SKY).astype("i2")
    pixels[:20] = -32768
    pixels[100, 100] = 32767
    contents = got(fits.PrimaryHDU(pixels, cards(**ADU)))
    assert not any("BZERO" in note for note in contents.report.notes)
    assert contents.mask[:20].all()


@pytest.mark.parametrize("unit", ["uJy", "nanomaggy", "nJy"])
def test_a_saturation_is_in_the_unit_of_its_file(got, unit):
    flux = (COUNTS - SKY).astype("f4")
    contents = got(fits.PrimaryHDU(flux, cards(BUNIT=unit, SATURATE=500.0)))
    assert np.array_equal(contents.mask & MaskBit.SATURATED != 0, flux >= 500.0)
    by_hand = got(fits.PrimaryHDU(flux, cards(BUNIT=unit, ESATUR=1.0)), saturation=700.0)
    assert np.array_equal(by_hand.mask & MaskBit.SATURATED != 0, flux >= 700.0)


JUMPS = (RNG.random((N, N)) < 0.15) * 4
COLUMNS = np.zeros((N, N), int)
COLUMNS[:, 50] = 1
DETECTED = np.where(SOURCES > 20, 2, 0)


@pytest.mark.parametrize(
    ("name", "bits", "bad", "options"),
    [
        ("MASK", COLUMNS, COLUMNS != 0, {}),
        ("MSK", COLUMNS, COLUMNS != 0, {}),
        ("DQ", JUMPS, np.zeros((N, N), bool), {}),
        ("DQ", JUMPS | COLUMNS, COLUMNS != 0, {}),
        ("MASK", DETECTED, np.zeros((N, N), bool), {}),
        ("MASK", DETECTED | COLUMNS, COLUMNS != 0, {}),
        ("DQ", JUMPS | COLUMNS, JUMPS != 0, {"bad_bits": 4}),
        ("FLAGS", COLUMNS * 8, COLUMNS != 0, {}),
    ],
)
def test_bits_that_say_nothing_bad_leave_pixels_usable(got, name, bits, bad, options):
    image = fits.PrimaryHDU(COUNTS, cards(**ADU))
    contents = got(image, plane(bits.astype("i4"), name), **options)
    assert np.array_equal(contents.mask != 0, bad)
    assert contents.report.mask_source


def test_ztf_and_jwst_know_their_bits(got):
    ztf = cards(**ADU, INSTRUME="ZTF/MOSAIC", FILTER="ZTF_r")
    bits = (COLUMNS * 256 + DETECTED).astype("i4")
    contents = got(fits.PrimaryHDU(COUNTS, ztf), plane(bits, "MASK"))
    assert np.array_equal(contents.mask == MaskBit.SATURATED, COLUMNS != 0)
    jwst = cards(TELESCOP="JWST", INSTRUME="NIRCAM", BUNIT="nJy")
    image = plane(COUNTS - np.float32(SKY), "SCI")
    image.header.update(jwst)
    planes = plane(np.sqrt(VARIANCE), "ERR"), plane((JUMPS | COLUMNS).astype("i4"), "DQ")
    contents = got(fits.PrimaryHDU(), image, *planes)
    assert np.array_equal(contents.mask & MaskBit.BAD != 0, COLUMNS != 0)


def test_planes_nobody_understands_are_named(tmp_path, instruments):
    from residua.storage.read.readers import open_image

    path = tmp_path / "x.fits"
    image = fits.PrimaryHDU(COUNTS, cards(**ADU))
    small = plane(np.ones((N // 2, N // 2), "f4"), "WEIGHT")
    fits.HDUList([image, plane(np.ones((N, N), "i4"), "CTX"), small]).writeto(path)
    found = open_image(path.read_bytes(), "x", instruments)
    assert "planes not understood and not used: CTX" in found.notes
    assert any("another shape" in n and "WEIGHT (160, 160)" in n for n in found.notes)


@pytest.mark.parametrize(
    ("hdu", "words"),
    [
        (fits.PrimaryHDU(COLUMNS.astype("i2"), cards()), "2 different values"),
        (
            fits.PrimaryHDU(np.float32(1) + np.float32(COLUMNS) / 9, cards()),
            "no .*noise",
        ),
        (fits.PrimaryHDU(COUNTS, cards(PRODTYPE="wtmap")), "wtmap"),
        (fits.PrimaryHDU(COUNTS, cards(PRODTYPE="dqmask")), "dqmask"),
        (fits.PrimaryHDU(COUNTS, cards(BAYERPAT="RGGB")), "colour mosaic"),
        (fits.PrimaryHDU(COUNTS, cards(BSOFTEN=1000.0)), "BSOFTEN and no BOFFSET"),
        (fits.PrimaryHDU(np.ones((3, N, N), "f4"), cards()), r"shape \(3, 320, 320\)"),
    ],
)
def test_masks_weights_and_cubes_are_no_images(got, hdu, words):
    with pytest.raises(UnusableImageError, match=words):
        got(hdu)


def test_axes_of_length_one_do_not_count(got):
    cube = cards(**ADU, CTYPE3="STOKES", CRVAL3=1.0, CRPIX3=1.0, CDELT3=1.0)
    contents = got(fits.PrimaryHDU(COUNTS[None], cube))
    assert contents.image.shape == (N, N)


def test_asinh_pixels_of_pan_starrs_are_made_linear(got):
    scaled = 1.0857362 * np.arcsinh((COUNTS - SKY - 50.0) / 2000.0)
    more = {"BOFFSET": 50.0, "BSOFTEN": 1000.0}
    contents = got(fits.PrimaryHDU(scaled.astype("f4"), cards(**more)))
    linear = got(fits.PrimaryHDU(COUNTS - np.float32(SKY), cards()))
    assert np.allclose(contents.image[BRIGHT], linear.image[BRIGHT], rtol=1e-3)


def test_cgs_fluxes_do_not_vanish(got):
    image = fits.PrimaryHDU((COUNTS - SKY) * 1e-32, cards(BUNIT="erg/s/cm2/Hz"))
    contents = got(image, plane(VARIANCE.astype("f8") * 1e-64, "VARIANCE"))
    assert sky_sigma(contents) == pytest.approx(SIGMA, rel=0.02)
    assert np.isfinite(contents.image).all()
