"""What readers make of files of every kind, and of files that are none."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from lsst.images import YX, Box, Image, Mask, MaskedImage, MaskSchema, SkyProjection, TractFrame
from lsst.images import get_legacy_non_cell_coadd_mask_planes as coadd_planes
from lsst.images.cells import (
    CellCoadd,
    CellGrid,
    CellGridBounds,
    CellPointSpreadFunction,
    PatchDefinition,
)
from lsst.images.fields import ChebyshevField
from lsst.images.serialization import read_archive, write_archive
from tests.unit.storage.sample_files import afw

from residua.simulation.input_files import write_template, write_visit_image
from residua.storage.read.file_contents import ReadOptions
from residua.storage.read.readers import open_image
from residua.subtraction.images import TemplateImage
from residua.subtraction.masks import MaskBit

# Visit images and coadds of lsst.images


def test_a_visit_image_round_trips(tmp_path, read, science, observation, fitsverify):
    path = tmp_path / "v.fits"
    write_visit_image(path, science, observation)
    got = read(path)
    assert got.unit == "nJy"
    assert np.array_equal(got.image, science.image, equal_nan=True)
    assert np.array_equal(got.variance, science.variance, equal_nan=True)
    assert np.array_equal(got.mask, science.mask)
    # Stored to 2^-26.
    assert np.allclose(got.psf.stamp(20, 30), science.psf.stamp(20, 30), atol=5e-8)
    assert got.photometric_scaling == 57.5
    assert got.native_unit == "electron"
    m, o = got.metadata, observation
    for name in [
        "instrument",
        "visit",
        "detector",
        "day_obs",
        "band",
        "physical_filter",
        "target_name",
        "begin_tai",
        "end_tai",
        "exposure_time",
        "airmass",
        "weather",
        "boresight",
        "rotation_angle",
    ]:
        assert getattr(m, name) == getattr(o, name), name
    assert fitsverify(path) == ""


def test_a_visit_image_written_without_psf_is_read_without(tmp_path, read, science, observation):
    path = tmp_path / "v.fits"
    write_visit_image(path, replace(science, psf=None), observation)
    assert read(path).psf is None


def test_a_visit_image_in_electrons_is_calibrated_by_its_field(
    tmp_path, read, science, observation
):
    path = tmp_path / "v.fits"
    write_visit_image(path, science, observation)
    archive = read_archive(str(path))
    bbox = archive.bbox
    field = ChebyshevField(bbox, np.array([[50.0, 5.0], [3.0, 0.0]]), unit=u.nJy / u.electron)
    archive.photometric_scaling = field
    electrons = archive.convert_unit(u.electron)
    second = tmp_path / "e.fits"
    write_archive(electrons, str(second), compression_options=None)
    got = read(second)
    assert got.unit == "nJy"
    assert got.native_unit == "electron"
    assert got.photometric_scaling == pytest.approx(50.0)
    assert np.allclose(got.image, science.image, rtol=1e-5, equal_nan=True)
    assert np.allclose(got.variance, science.variance, rtol=1e-5, equal_nan=True)


def test_a_template_patch_away_from_the_origin_keeps_its_sky(tmp_path, read, science, wcs):
    # As skymaps have it: the patch's first pixel is not (0, 0) of its tract.
    bbox = Box.factory[4000:4150, 7000:7180]
    tract_wcs = wcs.deepcopy()
    tract_wcs.wcs.crpix = [wcs.wcs.crpix[0] + 7000, wcs.wcs.crpix[1] + 4000]
    tract = Box.factory[0:20000, 0:20000]
    frame = TractFrame(skymap="lsst_cells_v1", tract=9813, bbox=tract)
    projection = SkyProjection.from_fits_wcs(tract_wcs, frame, pixel_bounds=tract)
    schema = MaskSchema(list(coadd_planes().values()), dtype=np.uint8)
    mask = Mask(0, schema=schema, bbox=bbox)
    mask.set("CLIPPED", science.mask & MaskBit.DETECTED != 0)
    mask.set("SENSOR_EDGE", science.mask & MaskBit.SATURATED != 0)
    masked = MaskedImage(
        Image(science.image, bbox=bbox, unit=u.nJy),
        mask=mask,
        variance=Image(science.variance, bbox=bbox, unit=u.nJy**2),
        sky_projection=projection,
    )
    path = tmp_path / "t.fits"
    write_archive(masked, str(path))
    got = read(path)
    assert np.allclose(
        got.wcs.pixel_to_world_values(33.0, 44.0), wcs.pixel_to_world_values(33.0, 44.0), atol=1e-9
    )
    clipped = (got.mask & MaskBit.CLIPPED) != 0
    assert np.array_equal(clipped, (science.mask & MaskBit.DETECTED) != 0)
    edge = (got.mask & MaskBit.SENSOR_EDGE) != 0
    assert np.array_equal(edge, (science.mask & MaskBit.SATURATED) != 0)
    assert (got.metadata.skymap, got.metadata.tract) == ("lsst_cells_v1", 9813)


def test_a_template_round_trips(tmp_path, read, science, tpv_wcs, fitsverify):
    template = TemplateImage(science.image, science.variance, science.mask, tpv_wcs)
    path = tmp_path / "t.fits"
    write_template(path, template, skymap="s", tract=3, patch=4, band="r")
    got = read(path)
    assert np.array_equal(got.image, science.image, equal_nan=True)
    assert np.array_equal(got.mask, science.mask)
    # An AST projection without an exact FITS form: degrees, [0, 360), both ways, any shape.
    x, y = np.meshgrid(np.arange(0.0, 180.0, 60.0), np.arange(0.0, 150.0, 40.0))
    sky = got.wcs.pixel_to_world_values(x, y)
    assert np.allclose(sky, tpv_wcs.pixel_to_world_values(x, y), atol=1e-9)
    assert np.allclose(got.wcs.world_to_pixel_values(*sky), [x, y], atol=1e-4)
    m = got.metadata
    assert (m.skymap, m.tract, m.patch, m.band) == ("s", 3, 4, "r")
    assert fitsverify(path) == ""


def test_inputs_are_written_with_the_same_bytes_twice(tmp_path, science, observation):
    for n in "ab":
        write_visit_image(tmp_path / f"v{n}.fits", science, observation, threads=1 + (n == "b"))
        template = TemplateImage(science.image, science.variance, science.mask, science.wcs)
        write_template(tmp_path / f"t{n}.fits", template, skymap="s", tract=3, patch=4, band="r")
    for kind in "vt":
        a, b = (tmp_path / f"{kind}{n}.fits" for n in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_a_cell_coadd_brings_its_psf_and_place(tmp_path, read, science, wcs, psf):
    bbox = Box.factory[0:150, 0:180]
    frame = TractFrame(skymap="lsst_cells_v1", tract=9813, bbox=bbox)
    projection = SkyProjection.from_fits_wcs(wcs, frame, pixel_bounds=bbox)
    grid = CellGrid(bbox=bbox, cell_shape=YX(50, 60))
    stamps = np.tile(psf.stamp(90.0, 75.0), (3, 3, 1, 1))
    mask = Mask(0, schema=MaskSchema(list(coadd_planes().values()), dtype=np.uint8), bbox=bbox)
    mask.set("INEXACT_PSF", science.mask & MaskBit.DETECTED != 0)
    coadd = CellCoadd(
        Image(science.image, bbox=bbox, unit=u.nJy),
        mask=mask,
        variance=Image(science.variance, bbox=bbox, unit=u.nJy**2),
        sky_projection=projection,
        band="r",
        psf=CellPointSpreadFunction(stamps, CellGridBounds(grid=grid, bbox=bbox)),
        patch=PatchDefinition(id=42, index=YX(4, 2), inner_bbox=bbox, cells=grid),
    )
    path = tmp_path / "coadd.fits"
    write_archive(coadd, str(path))
    got = read(path)
    assert got.unit == "nJy"
    assert np.array_equal(got.image, science.image, equal_nan=True)
    inexact = (got.mask & MaskBit.INEXACT_PSF) != 0
    assert np.array_equal(inexact, (science.mask & MaskBit.DETECTED) != 0)
    assert np.allclose(got.psf.stamp(20.0, 140.0), psf.stamp(90.0, 75.0), atol=1e-12)
    m = got.metadata
    assert (m.skymap, m.tract, m.patch, m.band) == ("lsst_cells_v1", 9813, 42, "r")


# The layout of afw


def test_dp1_files_get_the_new_plane_names(tmp_path, read, science):
    got = read(afw(tmp_path / "dp1.fits", science))
    assert got.unit == "nJy"
    assert np.array_equal(got.image, science.image, equal_nan=True)
    kept = MaskBit.SATURATED | MaskBit.INTERPOLATED | MaskBit.NO_DATA
    elsewhere = np.ones(got.mask.shape, bool)
    elsewhere[100, 100:102] = False
    assert np.array_equal(got.mask[elsewhere], (science.mask & kept)[elsewhere])
    assert got.mask[100, 100] == MaskBit.DETECTION_EDGE
    assert got.mask[100, 101] == MaskBit.COSMIC_RAY
    m = got.metadata
    assert (m.instrument, m.visit, m.detector) == ("LSSTComCam", 2024112200123, 4)
    assert (m.band, m.physical_filter) == ("r", "r_03")
    assert got.psf is None


@pytest.mark.parametrize("kind", ["archive", "afw"])
def test_choices_that_change_nothing_are_named(tmp_path, instruments, science, observation, kind):
    path = tmp_path / "visit.fits"
    if kind == "archive":
        write_visit_image(path, science, observation)
    else:
        afw(path, science)
    content = path.read_bytes()
    said = open_image(content, str(path), instruments, ReadOptions(gain=2.0, bad_bits=4)).notes
    assert any(note.startswith("--gain, --bad-bits not used: a file of") for note in said)
    assert not any("not used" in n for n in open_image(content, str(path), instruments).notes)
    if kind == "archive":
        beside = {"weight": b""}
        said = open_image(content, str(path), instruments, companions=beside).notes
        assert any(note.startswith("--weight not used") for note in said)


def test_dp1_files_in_electrons_need_a_zero_point(tmp_path, read, science):
    path = afw(tmp_path / "dp1.fits", science, bunit="electron")
    assert read(path).unit == "electron"
    got = read(path, zero_point=31.4 - 2.5)
    assert got.unit == "nJy"
    assert np.allclose(got.image, 10.0 * science.image, rtol=1e-3, equal_nan=True)
    assert np.allclose(got.variance, 100.0 * science.variance, rtol=1e-3, equal_nan=True)
