"""The tile codec against astropy's and cfitsio's decoders."""

import io
from concurrent.futures import ThreadPoolExecutor

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from lsst.images.fits import PrecompressedImage

from residua.storage.forms.codec import compress_lossless, compress_quantised
from residua.storage.forms.quantise import TILE


def _decode(compressed: PrecompressedImage, tmp_path):
    hdu = fits.BinTableHDU(compressed.data, header=compressed.header, name="IMAGE")
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    path = tmp_path / "plane.fits"
    path.write_bytes(buffer.getvalue())
    with fits.open(path) as hdus:
        data = np.array(hdus[1].data)
    return data, fitsio.read(str(path), ext=1)


def _compressed(image, variance=None, threads=2):
    with ThreadPoolExecutor(threads) as pool:
        return compress_quantised(image, image if variance is None else variance, pool)


def _tiles(plane):
    for y in range(0, plane.shape[0], TILE):
        for x in range(0, plane.shape[1], TILE):
            yield np.s_[y : y + TILE, x : x + TILE]


def _planes():
    rng = np.random.default_rng(1)
    noise = rng.normal(5.0, 10.0, (300, 531)).astype(np.float32)
    holes = noise.copy()
    holes[10:30, 20:40] = np.nan
    holes[256:] = np.nan
    zeros = noise.copy()
    zeros[::7, ::5] = 0.0
    bright = noise.copy()
    bright[50, 50] = 3e7
    steps = np.where(np.arange(531) > 260, noise, np.float32(3.25)).astype(np.float32)
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
    compressed, _ = _compressed(plane)
    by_astropy, by_cfitsio = _decode(compressed, tmp_path)
    assert np.array_equal(by_astropy, by_cfitsio, equal_nan=True)
    assert np.array_equal(np.isnan(by_astropy), np.isnan(plane))
    for place, scale in zip(_tiles(plane), compressed.data["ZSCALE"], strict=True):
        good = np.isfinite(plane[place])
        error = np.abs(by_astropy[place][good].astype(np.float64) - plane[place][good])
        # Half a step and the rounding of float32; nothing at all where no step was used.
        bound = scale / 2.0 * (1.0 + 1e-6) + np.spacing(np.abs(plane[place][good]))
        assert np.all(error <= bound * (scale > 0.0) + 0.0)
    assert np.array_equal(by_astropy[plane == 0.0], plane[plane == 0.0])


def test_the_step_is_a_sixteenth_of_the_noise():
    compressed, _ = _compressed(_planes()["noise"])
    assert np.allclose(compressed.data["ZSCALE"] * 16.0, 10.0, rtol=0.15)


def test_fill_values_are_no_noise():
    plane = np.random.default_rng(4).normal(0.0, 10.0, (700, 600)).astype(np.float32)
    # A border without data, a tile of nothing else, and a tile almost full of one value.
    plane[:25] = 0.0
    plane[:256, :256] = 0.0
    plane[300:512, :256] = 7.5
    compressed, _ = _compressed(plane)
    steps = compressed.data["ZSCALE"]
    # What is constant is kept as it is, in a few bytes.
    assert steps[0] == 0.0
    assert np.allclose(steps[1:] * 16.0, 10.0, rtol=0.15)
    lossless = [len(row) for row in compressed.data["GZIP_COMPRESSED_DATA"]]
    assert 0 < lossless[0] < 2000
    assert not any(lossless[1:])


def test_a_variance_is_coded_to_a_part_of_its_median():
    rng = np.random.default_rng(5)
    variance = rng.normal(400.0, 2.0, (700, 600)).astype(np.float32)
    image = rng.normal(0.0, 20.0, variance.shape).astype(np.float32)
    # Around a bright source the sky's own variance is the measure.
    variance[260:500, 10:250] *= 50.0
    compressed_image, compressed = _compressed(image, variance)
    assert np.allclose(compressed.data["ZSCALE"], 400.0 / 64.0, rtol=0.02)
    sizes = [c.data["COMPRESSED_DATA"] for c in (compressed_image, compressed)]
    image_bytes, variance_bytes = (sum(len(tile) for tile in tiles) for tiles in sizes)
    assert variance_bytes < 0.7 * image_bytes


def test_infinities_become_nan(tmp_path):
    plane = _planes()["noise"]
    plane[3, 4], plane[5, 6] = np.inf, -np.inf
    data, _ = _decode(_compressed(plane)[0], tmp_path)
    assert np.isnan(data[3, 4])
    assert np.isnan(data[5, 6])
    assert np.isfinite(np.delete(data.ravel(), [3 * 531 + 4, 5 * 531 + 6])).all()


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
    results = [
        [bytes(row["COMPRESSED_DATA"]) for row in _compressed(plane, threads=n)[0].data]
        for n in (1, 2, 5)
    ]
    assert results[0] == results[1] == results[2]
