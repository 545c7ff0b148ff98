"""Parts of planes that were never stored, with the bits of the stored plane."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits

from residua.storage.forms.codec import compress_quantised
from residua.storage.forms.stored_values import stored_values

SHAPE = (600, 700)


@pytest.fixture(scope="module")
def plane():
    rng = np.random.default_rng(8)
    image = rng.normal(3.0, 20.0, SHAPE).astype(np.float32)
    image[100:140, 200:260] = np.nan
    image[300, 300], image[301, 301] = 0.0, np.inf
    image[:256, :256] = 4.5
    image[400, 500] = 2e6
    return image


def test_a_part_has_the_bits_of_the_stored_plane(plane):
    with ThreadPoolExecutor(2) as pool:
        compressed, _ = compress_quantised(plane, plane, pool)
    buffer = io.BytesIO()
    hdu = fits.BinTableHDU(compressed.data, header=compressed.header, name="IMAGE")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    with fits.open(io.BytesIO(buffer.getvalue())) as hdus:
        whole = np.array(hdus[1].data)
    steps, zeros = (np.array(compressed.data[n]) for n in ("ZSCALE", "ZZERO"))
    rng = np.random.default_rng(9)
    boxes = [np.s_[0:600, 0:700], np.s_[599:600, 699:700], np.s_[250:262, 500:520]]
    for _ in range(60):
        y, x = int(rng.integers(0, 590)), int(rng.integers(0, 690))
        ny, nx = rng.integers(1, 90, 2)
        boxes.append(np.s_[y : min(600, y + int(ny)), x : min(700, x + int(nx))])
    for box in boxes:
        start = (box[0].start, box[1].start)
        part = stored_values(plane[box], start, SHAPE, steps, zeros)
        assert np.array_equal(part, whole[box], equal_nan=True)
