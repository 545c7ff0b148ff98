"""Difference images on disk, seen by lsst.images, astropy and fitsverify."""

import hashlib
import time
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images import DifferenceImage as ArchiveDifferenceImage
from lsst.images.serialization import read_archive

from residua.storage.forms.wcs import sky_projection
from residua.storage.write.image_file import TemplateFootprint, write_difference_image
from residua.subtraction.masks import MaskBit


@pytest.fixture
def write(tmp_path, difference, visit_image, provenance, instruments):
    def write(name="d.fits", image=difference, visit=visit_image, **options):
        path = tmp_path / name
        instrument = instruments.get(visit.observation.instrument)
        write_difference_image(path, image, visit, provenance, instrument, **options)
        return path

    return write


def test_lsst_images_reads_everything_back(write, difference, observation):
    read = read_archive(str(write(lossless=True)))
    assert isinstance(read, ArchiveDifferenceImage)
    assert np.array_equal(read.image.array, difference.image, equal_nan=True)
    assert np.array_equal(read.variance.array, difference.variance, equal_nan=True)
    assert read.unit == u.nJy
    assert read.variance.unit == u.nJy**2
    for bit in MaskBit:
        if bit < MaskBit.CLIPPED:
            assert np.array_equal(read.mask.get(bit.name), (difference.mask & bit) != 0), bit.name
    for x, y in ((0.0, 0.0), (100.0, 40.0), (179.0, 149.0)):
        stamp = read.psf.compute_kernel_image(x=x, y=y).array
        assert np.allclose(stamp, difference.psf.stamp(x, y), atol=5e-8)
        kernel = read.kernel.compute_kernel_image(x=x, y=y).array
        assert np.allclose(kernel, difference.kernel.stamp(x, y), atol=1e-12)
    info = read.obs_info
    assert (info.visit_id, info.detector_num, info.physical_filter) == (2024112200123, 4, "r_03")
    assert info.datetime_begin.tai.to_datetime() == observation.begin_tai
    assert info.temperature.to_value(u.K) == pytest.approx(283.65)
    assert info.pressure.to_value(u.Pa) == pytest.approx(74000.0)
    assert info.relative_humidity == 20.0
    assert read.band == "r"
    assert read.photometric_scaling(x=np.array([5.0]), y=np.array([6.0]))[0] == 57.5
    assert read.photometric_scaling.unit == u.nJy / u.electron
    assert read.detector.id == 4
    assert read.detector.name == "R22_S11"
    (template,) = read.templates
    assert (template.skymap, template.tract, template.patch) == ("lsst_cells_v1", 9813, 42)
    assert template.dataset_run == "dp1"
    assert template.psf_shape_flag
    assert read.summary_stats.psfSigma == pytest.approx(1.9, abs=0.1)
    assert read.summary_stats.pixelScale == pytest.approx(0.201, abs=1e-3)


def test_quantised_pixels_stay_within_a_fraction_of_the_noise(write, difference):
    read = read_archive(str(write()))
    error = np.nanmax(np.abs(read.image.array - difference.image))
    assert 0.0 < error < 17.0 / 16.0
    assert np.array_equal(np.isnan(read.image.array), np.isnan(difference.image))


def test_astropy_alone_understands_the_file(write, difference):
    with fits.open(write()) as hdus:
        header = hdus[0].header
        assert header["INSTRUME"] == "LSSTComCam"
        assert header["VISIT"] == 2024112200123
        assert header["DETECTOR"] == 4
        assert (header["FILTER"], header["BAND"]) == ("r_03", "r")
        assert (header["TIMESYS"], header["DATE-OBS"]) == ("TAI", "2024-11-23T05:00:00.000")
        assert header["MJD-OBS"] == pytest.approx(60637.2083333)
        assert (header["EXPTIME"], header["AIRMASS"]) == (30.0, 1.2)
        assert (header["AIRTEMP"], header["PRESSURE"], header["HUMIDITY"]) == (10.5, 74000.0, 20.0)
        assert header["BUNIT"] == "nJy"
        assert header["RA"] == pytest.approx(150.1, abs=1e-3)
        assert header["RUN"] == "residua/0/dp1/3f2a9c51d0be"
        assert header["SCISUM"] == f"sha256:{'0' * 64}"
        assert header["TSUM01"] == f"sha256:{'1' * 64}"
        assert header["QLAG1"] == 0.001
        assert "QBRIGHT" not in header  # it is NaN
        image = hdus["IMAGE"]
        assert image.data.shape == difference.image.shape
        assert image.header["BUNIT"] == "nJy"
        expected = difference.wcs.pixel_to_world_values(100, 40)
        assert np.allclose(WCS(image.header).pixel_to_world_values(100, 40), expected, atol=1e-9)
        planes = {
            hdus["MASK"].header[f"MSKN{n:04d}"]: hdus["MASK"].header[f"MSKM{n:04d}"]
            for n in range(19)
        }
        detected = (hdus["MASK"].data & planes["DETECTED"]) != 0
        assert np.array_equal(detected, (difference.mask & MaskBit.DETECTED) != 0)


@pytest.mark.parametrize("lossless", [False, True])
def test_fitsverify_has_nothing_to_say(write, lossless, fitsverify):
    assert fitsverify(write(lossless=lossless)) == ""


def test_the_bytes_depend_on_the_input_alone(write):
    first = write("a.fits", threads=1)
    # Clocks move on: into another second for gzip headers and DATE cards.
    time.sleep(1.1)
    digests = {
        hashlib.sha256(p.read_bytes()).hexdigest()
        for p in (first, write("b.fits", threads=1), write("c.fits", threads=3))
    }
    assert len(digests) == 1


def test_dates_are_those_of_the_observation(write):
    with fits.open(write()) as hdus:
        # 37 s between TAI and UTC.
        assert {h.header["DATE"] for h in hdus} == {"2024-11-23T04:59:53.000"}


def test_a_tpv_projection_survives_in_archive_and_headers(write, difference, tpv_wcs, fitsverify):
    path = write(image=replace(difference, wcs=tpv_wcs))
    x, y = np.array([0.0, 90.0, 179.0]), np.array([149.0, 70.0, 0.0])
    expected = np.array(tpv_wcs.pixel_to_world_values(x, y))
    with fits.open(path) as hdus:
        for name in ("IMAGE", "MASK", "VARIANCE"):
            by_header = WCS(hdus[name].header).pixel_to_world_values(x, y)
            assert np.allclose(by_header, expected, atol=1e-8), name
    archive = read_archive(str(path))
    by_archive = np.degrees(np.array(archive.astropy_wcs.pixel_to_world_values(x, y))) % 360.0
    by_archive[1] -= 360.0
    assert np.allclose(by_archive, expected, atol=1e-8)
    assert fitsverify(path) == ""


def test_sip_headers_keep_their_distortion(write, difference, wcs):
    header = wcs.to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    for key, value in (("A_ORDER", 2), ("B_ORDER", 2), ("A_2_0", 1e-5), ("B_0_2", -2e-5)):
        header[key] = value
    sip = WCS(header)
    expected = sip.pixel_to_world_values(170.0, 5.0)
    path = write(image=replace(difference, wcs=sip))
    with fits.open(path) as hdus:
        got = WCS(hdus["IMAGE"].header).pixel_to_world_values(170.0, 5.0)
        assert np.allclose(got, expected, atol=1e-9)
    archive = read_archive(str(path)).astropy_wcs
    sky = archive.pixel_to_world_values(np.array([170.0]), np.array([5.0]))
    assert np.allclose(np.degrees(np.array(sky)).ravel(), expected, atol=1e-8)


def test_template_bounds_are_where_the_template_overlaps(write, wcs, psf):
    # A template whose grid is the same, moved right by 100 pixels.
    moved = wcs.deepcopy()
    moved.wcs.crpix = [wcs.wcs.crpix[0] - 100.0, wcs.wcs.crpix[1]]
    known = {f"sha256:{'1' * 64}": TemplateFootprint(moved, (150, 180), psf)}
    (template,) = read_archive(str(write(templates=known))).templates
    assert template.bounds.bbox.x.start == pytest.approx(100, abs=1)
    assert template.bounds.area == pytest.approx(80 * 150, rel=0.01)
    assert not template.psf_shape_flag
    assert template.psf_shape_xx == pytest.approx(1.9**2, rel=0.1)


def test_files_in_their_own_unit_say_so(write, difference, visit_image):
    visit = replace(
        visit_image,
        observation=replace(visit_image.observation, photometric_scaling=None, native_unit="adu"),
    )
    path = write(image=replace(difference, unit="adu"), visit=visit)
    read = read_archive(str(path))
    assert read.unit == u.adu
    assert read.photometric_scaling is None
    assert fits.getheader(path)["BUNIT"] == "adu"


def test_unknown_times_and_weather_leave_no_cards(write, visit_image, fitsverify):
    bare = replace(
        visit_image.observation,
        begin_tai=None,
        end_tai=None,
        exposure_time=None,
        airmass=None,
        weather=None,
        boresight=None,
        target_name="Große Wolke",
    )
    path = write(visit=replace(visit_image, observation=bare))
    header = fits.getheader(path)
    assert not {"DATE-OBS", "MJD-OBS", "EXPTIME", "AIRMASS", "AIRTEMP"} & set(header)
    assert header["DATE"] == "1970-01-01T00:00:00.000"
    assert header["OBJECT"] == "Gro?e Wolke"
    assert fitsverify(path) == ""


def test_a_projection_that_fits_the_frame_is_kept_exactly(write, difference):
    from residua.storage.forms.wcs import wcs_from_projection

    read = read_archive(str(write()))
    wcs = wcs_from_projection(read.sky_projection, read.bbox)
    frame = read.sky_projection.pixel_frame
    again = sky_projection(wcs, frame, difference.image.shape)
    sky = again.as_astropy(read.bbox).pixel_to_world_values(np.array([9.0]), np.array([8.0]))
    expected = difference.wcs.pixel_to_world_values(9.0, 8.0)
    assert np.allclose(np.degrees(np.array(sky)).ravel(), expected, atol=1e-9)
