"""The tile codec against astropy's and cfitsio's decoders."""

import io
from concurrent.futures import ThreadPoolExecutor

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from lsst.images.fits import PrecompressedImage

from residua.storage.forms.codec import compress_lossless, compress_quantised


def _decode(compressed: PrecompressedImage, tmp_path):
    hdu = fits.BinTableHDU(compressed.data, header=compressed.header, name="IMAGE")
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    path = tmp_path / "plane.fits"
    path.write_bytes(buffer.getvalue())
    with fits.open(path) as hdus:
        data = np.array(hdus[1].data)
    return data, fitsio.read(str(path), ext=1)


def _planes():
    rng = np.random.default_rng(1)
    noise = rng.normal(5.0, 10.0, (200, 131)).astype(np.float32)
    holes = noise.copy()
    holes[10:30, 20:40] = np.nan
    holes[64:128] = np.nan
    zeros = noise.copy()
    zeros[::7, ::5] = 0.0
    bright = noise.copy()
    bright[50, 50] = 3e7
    steps = np.where(np.arange(131) > 60, noise, np.float32(3.25)).astype(np.float32)
    return {
        "noise": noise,
        "holes": holes,
        "zeros": zeros,
        "bright": bright,
        "constant": np.full((70, 90), 2.5, np.float32),
        "half constant": steps,
        "one row": noise[:1],
        "narrow": noise[:, :3].copy(),
    }


@pytest.mark.parametrize("name", list(_planes()))
def test_quantised_planes_are_read_alike_by_astropy_and_cfitsio(name, tmp_path):
    plane = _planes()[name]
    with ThreadPoolExecutor(2) as pool:
        (compressed,) = compress_quantised([plane], pool)
    by_astropy, by_cfitsio = _decode(compressed, tmp_path)
    assert np.array_equal(by_astropy, by_cfitsio, equal_nan=True)
    assert np.array_equal(np.isnan(by_astropy), np.isnan(plane))
    scales = compressed.data["ZSCALE"]
    for tile, scale in enumerate(scales):
        rows = np.s_[tile * 64 : (tile + 1) * 64]
        good = np.isfinite(plane[rows])
        error = np.abs(by_astropy[rows][good].astype(np.float64) - plane[rows][good])
        # Half a step and the rounding of float32; nothing at all where no step was used.
        bound = scale / 2.0 * (1.0 + 1e-6) + np.spacing(np.abs(plane[rows][good]))
        assert np.all(error <= bound * (scale > 0.0) + 0.0)
    assert np.array_equal(by_astropy[plane == 0.0], plane[plane == 0.0])


def test_the_step_is_a_sixteenth_of_the_noise():
    with ThreadPoolExecutor(1) as pool:
        (compressed,) = compress_quantised([_planes()["noise"]], pool)
    assert np.allclose(compressed.data["ZSCALE"][:3] * 16.0, 10.0, rtol=0.15)


def test_infinities_become_nan(tmp_path):
    plane = _planes()["noise"]
    plane[3, 4], plane[5, 6] = np.inf, -np.inf
    with ThreadPoolExecutor(1) as pool:
        (compressed,) = compress_quantised([plane], pool)
    data, _ = _decode(compressed, tmp_path)
    assert np.isnan(data[3, 4])
    assert np.isnan(data[5, 6])
    assert np.isfinite(np.delete(data.ravel(), [3 * 131 + 4, 5 * 131 + 6])).all()


@pytest.mark.parametrize("name", ["noise", "holes", "one row"])
def test_lossless_planes_are_exact(name, tmp_path):
    plane = _planes()[name]
    mask = np.random.default_rng(2).integers(-(2**31), 2**31, plane.shape, np.int32)
    with ThreadPoolExecutor(2) as pool:
        image, packed = compress_lossless([plane, mask], pool)
    assert np.array_equal(_decode(image, tmp_path)[0], plane, equal_nan=True)
    assert np.array_equal(_decode(packed, tmp_path)[0], mask)


def test_the_number_of_threads_does_not_change_a_bit():
    plane = np.random.default_rng(3).normal(size=(700, 64)).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        with ThreadPoolExecutor(threads) as pool:
            (compressed,) = compress_quantised([plane], pool)
        results.append([bytes(row["COMPRESSED_DATA"]) for row in compressed.data])
    assert results[0] == results[1] == results[2]
