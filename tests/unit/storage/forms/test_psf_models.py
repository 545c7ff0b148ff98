"""PSF models to the archive's classes and back."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from lsst.images import YX, Box
from lsst.images.cells import CellGrid, CellGridBounds, CellPointSpreadFunction
from lsst.images.fits import FitsOutputArchive
from lsst.images.psfs import GaussianPointSpreadFunction, PiffWrapper

from residua.storage.forms.pixel_grid_psf import PixelGridPsf, compact, pixel_grid_model
from residua.storage.forms.psf_models import psf_from_archive, psf_moments
from residua.subtraction.images import PsfModel, SpatialPolynomial


def _gaussian(sigma, half=12, xx=1.0):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    stamp = np.exp(-(x**2 / xx + y**2) / (2 * sigma**2))
    return stamp / stamp.sum()


def test_a_model_is_stored_exactly_at_full_detector_size(psf):
    model = PsfModel(psf.coefficients, SpatialPolynomial((4000, 4072), 2))
    stored = PixelGridPsf(model)
    for x, y in ((0.0, 0.0), (4071.0, 3999.0), (1234.0, 3210.0)):
        assert np.allclose(
            stored.compute_kernel_image(x=x, y=y).array, model.stamp(x, y), atol=1e-13
        )
    assert stored.compute_kernel_image(x=9.0, y=9.0).array.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_model_comes_back_as_it_went(psf, order):
    n_terms = (order + 1) * (order + 2) // 2
    model = PsfModel(psf.coefficients[:n_terms], SpatialPolynomial((300, 400), order))
    back = psf_from_archive(PixelGridPsf(model), Box.factory[0:300, 0:400])
    for x, y in ((3.0, 4.0), (250.0, 299.0)):
        assert np.allclose(back.stamp(x, y), model.stamp(x, y), atol=1e-12)


def _stored(psf):
    hdus = fits.HDUList()
    archive = FitsOutputArchive(hdus)
    return archive.serialize_direct("psf", psf.serialize), hdus


def _read_again(hdus):
    content = io.BytesIO()
    hdus.writeto(content)
    return fits.open(io.BytesIO(content.getvalue()))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_piff_stores_the_same_and_reads_it(psf, order):
    n_terms = (order + 1) * (order + 2) // 2
    model = compact(PsfModel(psf.coefficients[:n_terms], SpatialPolynomial((300, 400), order)))
    ours = PixelGridPsf(model)
    tree, hdus = _stored(ours)
    by_piff, _ = _stored(PiffWrapper(ours._impl, ours.bounds, model.size))
    ours_as_text = tree.model_dump_json()
    assert ours_as_text.replace("float32", "float64") == by_piff.model_dump_json()
    table = _read_again(hdus)["PSF/PIFF/INTERP/SOLUTION"].data
    archive = SimpleNamespace(
        get_structured_array=lambda *_, **__: np.array(table, table.dtype.newbyteorder("="))
    )
    drawn = tree.deserialize(archive).compute_kernel_image(x=250.0, y=20.0).array
    stamp = model.stamp(250.0, 20.0)
    assert np.allclose(drawn, stamp / stamp.sum(), atol=2e-9)


@pytest.mark.parametrize("start", [(0, 0), (40, 100)])
def test_a_pixel_grid_is_read_without_piff(psf, start):
    y0, x0 = start
    model = compact(PsfModel(psf.coefficients, SpatialPolynomial((300, 400), 2)))
    tree, hdus = _stored(PixelGridPsf(model))
    hdus_again = _read_again(hdus)
    back = pixel_grid_model(tree, hdus_again, Box.factory[y0 : y0 + 100, x0 : x0 + 200])
    assert back.polynomial.shape == (100, 200)
    for x, y in ((3.0, 4.0), (150.0, 99.0)):
        assert np.allclose(back.stamp(x, y), model.stamp(x + x0, y + y0), atol=2e-9)
    other = tree.model_copy(deep=True)
    other.piff.objects["piff"].structs["model"]["centered"] = True
    assert pixel_grid_model(other, hdus_again, Box.factory[0:100, 0:200]) is None


def test_a_wide_stamp_is_cut_where_nothing_is_left(psf):
    wide = np.zeros((6, 131, 131))
    wide[:, 55:76, 55:76] = psf.coefficients
    wide += 1e-9
    kept = compact(PsfModel(wide, psf.polynomial))
    assert kept.size <= 31
    padded = np.zeros((6, kept.size, kept.size))
    half = kept.size // 2
    padded[:, half - 10 : half + 11, half - 10 : half + 11] = psf.coefficients
    assert np.abs(kept.coefficients - padded).max() <= 2.0**-27 + 1e-9


def test_a_gaussian_is_constant(psf):
    bbox = Box.factory[100:400, 50:250]
    gaussian = GaussianPointSpreadFunction(2.0, bounds=bbox, stamp_size=25)
    model = psf_from_archive(gaussian, bbox)
    assert model.polynomial.order == 0
    assert model.polynomial.shape == (300, 200)
    assert model.fwhm() == pytest.approx(2.0 * 2.3548, rel=0.02)


def test_cells_become_a_smooth_model():
    bbox = Box.factory[1000:1200, 2000:2300]
    grid = CellGrid(bbox=bbox, cell_shape=YX(50, 50))
    sigmas = 2.0 + 0.02 * np.arange(6)[None, :] + 0.03 * np.arange(4)[:, None]
    stamps = np.array([[_gaussian(s) for s in row] for row in sigmas])
    stamps[1, 2] = np.nan
    bounds = CellGridBounds(grid=grid, bbox=bbox, missing=frozenset())
    model = psf_from_archive(CellPointSpreadFunction(stamps, bounds), bbox)
    # The middle of the cell in the upper right corner.
    assert model.fwhm(275, 175) / 2.3548 == pytest.approx(sigmas[3, 5], rel=0.02)
    assert model.fwhm(25, 25) / 2.3548 == pytest.approx(sigmas[0, 0], rel=0.02)


def test_moments_of_a_gaussian_are_its_own():
    xx, yy, xy = psf_moments(_gaussian(2.0, xx=1.5))
    assert xx == pytest.approx(6.0, rel=0.01)
    assert yy == pytest.approx(4.0, rel=0.01)
    assert xy == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(psf_moments(np.zeros((11, 11)))).all()
