"""What the reader makes of plain images: sky, noise, planes beside them, units, projections."""

import numpy as np
import pytest
from astropy.io import fits
from tests.unit.storage.sample_files import counts, save

from residua.simulation.input_files import write_plain_fits
from residua.subtraction.masks import MaskBit


def test_counts_get_a_sky_and_a_variance(tmp_path, read, wcs):
    got = read(save(tmp_path / "c.fits", [counts(wcs)]))
    assert got.unit == "adu"
    assert got.photometric_scaling is None
    assert got.psf is None
    free = np.s_[100:150, 10:150]
    assert abs(np.median(got.image[free])) < 1.0
    expected = 1000.0 / 4.0 + (8.0 / 4.0) ** 2
    assert np.median(got.variance[free]) == pytest.approx(expected, rel=0.03)
    assert np.var(got.image[free]) == pytest.approx(expected, rel=0.06)
    assert got.variance[60, 80] == pytest.approx(expected + 4000.0 / 4.0, rel=0.2)
    saturated = (got.mask & MaskBit.SATURATED) != 0
    assert 3 < saturated.sum() < 60
    assert saturated[180, 200]


def test_a_subtracted_sky_is_told_by_its_card(tmp_path, read, wcs):
    hdu = counts(wcs, AVSKY=1010.0)
    hdu.data -= np.float32(1000.0)
    got = read(save(tmp_path / "c.fits", [hdu]))
    expected = 1010.0 / 4.0 + 4.0
    assert np.median(got.variance[100:150, 10:150]) == pytest.approx(expected, rel=0.01)


def test_without_any_card_the_noise_itself_tells(tmp_path, read, wcs):
    hdu = counts(wcs)
    hdu.data -= np.float32(1000.0)
    for name, cards in (("gain", {}), ("bare", {"GAIN": None, "RDNOISE": None})):
        for key in cards:
            del hdu.header[key]
        got = read(save(tmp_path / f"{name}.fits", [hdu]))
        assert np.median(got.variance[100:150, 10:150]) == pytest.approx(254.0, rel=0.1), name


def test_a_sloping_sky_is_removed(tmp_path, read, wcs):
    hdu = counts(wcs, shape=(512, 640))
    y, x = np.mgrid[:512, :640]
    hdu.data += (0.5 * x - 0.2 * y).astype(np.float32)
    got = read(save(tmp_path / "c.fits", [hdu]))
    for box in (np.s_[30:100, 400:600], np.s_[400:500, 30:150], np.s_[300:380, 300:500]):
        assert abs(np.median(got.image[box])) < 5.0


@pytest.mark.parametrize("kind", ["VARIANCE", "WEIGHT", "ERR"])
def test_planes_that_come_with_the_image_are_used(tmp_path, read, wcs, kind):
    hdu = counts(wcs)
    variance = np.full(hdu.data.shape, 300.0, np.float32)
    variance[:, :100] = 600.0
    plane = {"VARIANCE": variance, "WEIGHT": 1.0 / variance, "ERR": np.sqrt(variance)}[kind]
    plane[5, 5] = 0.0
    mask = np.zeros(hdu.data.shape, np.int16)
    mask[7, 8] = 3
    extensions = [fits.ImageHDU(plane, name=kind), fits.ImageHDU(mask, name="MASK")]
    got = read(save(tmp_path / "c.fits", [hdu, *extensions]))
    assert got.variance[50, 50] == pytest.approx(600.0, rel=1e-5)
    assert got.variance[50, 150] == pytest.approx(300.0, rel=1e-5)
    assert got.mask[7, 8] == MaskBit.BAD
    assert got.mask[5, 5] == MaskBit.NO_DATA
    assert np.isnan(got.image[5, 5])


def test_nans_are_flagged_and_compressed_extensions_are_read(tmp_path, read, wcs):
    hdu = counts(wcs)
    hdu.data[10:20, 30:40] = np.nan
    compressed = fits.CompImageHDU(hdu.data, header=hdu.header, quantize_level=16.0)
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "DECam"
    primary.header["EXPNUM"] = 123456
    primary.header["CCDNUM"] = 37
    primary.header["FILTER"] = "i DECam SDSS c0003 7835.0 1470.0"
    primary.header["DATE-OBS"] = "2018-08-04T09:23:31.598"
    primary.header["EXPTIME"] = 330.0
    primary.header["PRESSURE"] = 779.0
    primary.header["OUTTEMP"] = 9.5
    primary.header["HUMIDITY"] = 30.0
    got = read(save(tmp_path / "c.fits.fz", [primary, compressed]))
    flags = MaskBit.NO_DATA | MaskBit.UNMASKED_NAN
    assert np.all(got.mask[10:20, 30:40] == flags)
    assert np.count_nonzero(got.mask & MaskBit.NO_DATA) == 100
    m = got.metadata
    assert (m.instrument, m.visit, m.detector, m.band) == ("DECam", 123456, 37, "i")
    assert m.begin_tai.isoformat() == "2018-08-04T09:24:08.598000"
    assert m.exposure_time == 330.0
    assert m.weather.pressure == pytest.approx(77900.0)
    assert m.weather.temperature == 9.5


@pytest.mark.parametrize(
    ("cards", "zero_point", "factor"),
    [
        ({"BUNIT": "uJy"}, None, 1000.0),
        ({"BUNIT": "nanomaggy"}, None, 3631.0),
        ({"MAGZERO": 31.4}, None, 1.0),
        ({"MAGZERO": 28.9}, 20.0, 10.0),
        ({"MAGZPT": 26.4, "EXPTIME": 100.0}, None, 1.0),
        ({"MAGZPT": 28.9, "BUNIT": "adu/s", "EXPTIME": 100.0}, None, 10.0),
        ({}, 28.9, 10.0),
    ],
)
def test_calibration_to_njy(tmp_path, read, wcs, cards, zero_point, factor):
    hdu = counts(wcs, sky=0.0, read_noise=40.0, **cards)
    variance = fits.ImageHDU(np.full(hdu.data.shape, 100.0, np.float32), name="VARIANCE")
    raw = hdu.data.copy()
    got = read(save(tmp_path / "c.fits", [hdu, variance]), zero_point=zero_point)
    assert got.unit == "nJy"
    assert got.photometric_scaling == pytest.approx(factor, rel=1e-4)
    assert np.allclose(got.image, raw * factor, rtol=1e-4)
    assert np.allclose(got.variance, 100.0 * factor**2, rtol=1e-4)


def test_projections_are_read_as_they_are(tmp_path, read, tpv_wcs):
    got = read(save(tmp_path / "c.fits", [counts(tpv_wcs)]))
    assert np.allclose(
        got.wcs.pixel_to_world_values(5.0, 250.0), tpv_wcs.pixel_to_world_values(5.0, 250.0)
    )


def test_our_own_plain_files_round_trip(tmp_path, read, science, observation):
    path = tmp_path / "p.fits"
    write_plain_fits(path, science, observation)
    got = read(path)
    assert np.array_equal(got.image, science.image, equal_nan=True)
    assert np.array_equal(got.mask, science.mask)
    assert got.metadata.begin_tai == observation.begin_tai
    assert got.metadata.visit == observation.visit
