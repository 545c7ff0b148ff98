"""The threaded decoder against astropy's, bit for bit."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits

from residua.storage.forms import decode
from residua.storage.forms.codec import compress_lossless, compress_quantised
from residua.storage.forms.decode import PlaneReader


def _plane():
    plane = np.random.default_rng(1).normal(5.0, 10.0, (150, 131)).astype(np.float32)
    plane[::7, ::5] = 0.0
    plane[10:30, 20:40] = np.nan
    plane[64:128] = 3.5
    return plane


def _read(content):
    with (
        fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus,
        ThreadPoolExecutor(2) as pool,
    ):
        return PlaneReader(hdus, content, pool).read(1), np.asarray(hdus[1].data)


def _file(hdu):
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()


def _same(ours, theirs):
    assert ours.shape == theirs.shape
    assert ours.dtype.kind == theirs.dtype.kind
    assert np.array_equal(ours, theirs, equal_nan=theirs.dtype.kind == "f")


def _form(algorithm, **options):
    return {"compression_type": algorithm, **options}


FORMS = [
    _form("RICE_1", quantize_method=-1, quantize_level=16.0),
    _form("RICE_1", quantize_method=1, quantize_level=4.0, dither_seed=77),
    _form("RICE_1", quantize_method=2, quantize_level=16.0, dither_seed=9990),
    _form("RICE_1", quantize_method=2, dither_seed=3, tile_shape=(50, 40)),
    _form("GZIP_1", quantize_method=1, dither_seed=5, tile_shape=(64, 131)),
    _form("GZIP_2", quantize_level=0.0, tile_shape=(32, 131)),
    _form("GZIP_1", quantize_level=0.0),
    _form("HCOMPRESS_1", quantize_method=1, dither_seed=5, tile_shape=(16, 131)),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: "-".join(str(v) for v in f.values()))
def test_float_planes(form):
    _same(*_read(_file(fits.CompImageHDU(_plane(), **form))))


@pytest.mark.parametrize("algorithm", ["RICE_1", "GZIP_1", "GZIP_2", "PLIO_1"])
@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_integer_planes(algorithm, dtype):
    plane = np.random.default_rng(2).integers(0, 5000, (100, 90)).astype(dtype)
    _same(*_read(_file(fits.CompImageHDU(plane, compression_type=algorithm))))


def test_our_own_planes():
    mask = np.random.default_rng(2).integers(-(2**31), 2**31, (150, 131), np.int32)
    with ThreadPoolExecutor(2) as pool:
        planes = [
            *compress_quantised(_plane(), np.abs(_plane()), pool),
            *compress_lossless([_plane(), mask], pool),
        ]
    for plane in planes:
        _same(*_read(_file(fits.BinTableHDU(plane.data, header=plane.header, name="X"))))


def test_the_usual_forms_do_not_need_astropy(monkeypatch):
    content = _file(fits.CompImageHDU(_plane(), **FORMS[2]))

    def forbidden(self):
        raise AssertionError("astropy was asked")

    monkeypatch.setattr(fits.CompImageHDU, "data", property(forbidden))
    with (
        fits.open(io.BytesIO(content), memmap=False) as hdus,
        ThreadPoolExecutor(1) as pool,
    ):
        assert PlaneReader(hdus, content, pool).read(1).shape == (150, 131)


def test_uncompressed_images_and_empty_tiles():
    plane = _plane()
    _same(*_read(_file(fits.ImageHDU(plane))))
    table = decode.TileTable(
        rows=np.zeros(1, np.dtype([("COMPRESSED_DATA", ">i4", (2,))])),
        heap=memoryview(b""),
        heap_start=0,
        shape=(2, 2),
        tile=(2, 2),
        algorithm="RICE_1",
        block=32,
        floating=False,
        quantised=False,
        dither=0,
        seed=1,
        null=0,
    )
    with pytest.raises(ValueError, match="no data"):
        decode._decode_tile(table, 0, np.zeros((2, 2), np.int32))
