"""The export in Data Preview 1's layout: read back equal by astropy and by our own reader."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from residua.errors import CorruptFileError
from residua.instruments import InstrumentRegistry
from residua.storage.read.afw_layout import is_afw_layout
from residua.storage.read.readers import read_image
from residua.storage.write.dp1_export import AFW_BITS, dp1_layout
from residua.subtraction.masks import MaskBit
from residua.testing.difference_images import (
    difference_image_event,
    difference_image_pixels,
    write_file,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "difference_image.fits"
    event = write_file(path, difference_image_event(2024110800253, 4, ""))
    return path, event


@pytest.fixture(scope="module")
def exported(source):
    return dp1_layout(source[0].read_bytes(), "difference_image.fits")


def test_planes_are_equal_to_the_bit(source, exported):
    with fits.open(source[0]) as before, fits.open(io.BytesIO(exported)) as after:
        assert [hdu.name for hdu in after] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        assert is_afw_layout(after)
        for name in ("IMAGE", "VARIANCE"):
            np.testing.assert_array_equal(after[name].data, before[name].data)
            assert after[name].data.dtype.newbyteorder("=") == np.float32
        assert after["IMAGE"].header["BUNIT"] == "nJy"
        assert after["VARIANCE"].header["BUNIT"] == "nJy2"
        sky = [WCS(h["IMAGE"].header).pixel_to_world_values(7.0, 40.0) for h in (before, after)]
        np.testing.assert_allclose(sky[0], sky[1], rtol=0, atol=1e-12)


def test_mask_planes_have_the_names_of_data_preview_1(source, exported):
    mask = difference_image_pixels(source[1]).mask
    with fits.open(io.BytesIO(exported)) as hdus:
        header, data = hdus["MASK"].header, hdus["MASK"].data
    planes = {key[3:]: header[key] for key in header if key.startswith("MP_")}
    assert planes == AFW_BITS
    names = {"SAT": "SATURATED", "INTRP": "INTERPOLATED", "CR": "COSMIC_RAY"}
    names |= {"EDGE": "DETECTION_EDGE", "UNMASKEDNAN": "UNMASKED_NAN"}
    # Every plane a difference image can carry has its place.
    assert {names.get(old, old) for old in planes} == {
        bit.name for bit in MaskBit if bit <= MaskBit.STREAK
    }
    seen = 0
    for old, bit in planes.items():
        there = (data >> bit) & 1
        wanted = (mask & MaskBit[names.get(old, old)].value) != 0
        np.testing.assert_array_equal(there.astype(bool), wanted)
        seen += bool(wanted.any())
    assert seen == 5


def test_our_own_reader_reads_it_back_equal(source, exported):
    instruments = InstrumentRegistry()
    before = read_image(source[0].read_bytes(), "before", instruments)
    after = read_image(exported, "after", instruments)
    for plane in ("image", "variance", "mask"):
        np.testing.assert_array_equal(getattr(after, plane), getattr(before, plane))
    assert after.unit == before.unit == "nJy"
    for name in ("instrument", "visit", "detector", "day_obs", "band", "physical_filter"):
        assert getattr(after.metadata, name) == getattr(before.metadata, name)
    assert after.metadata.begin_tai == before.metadata.begin_tai
    np.testing.assert_allclose(
        after.wcs.pixel_to_world_values(7.0, 40.0), before.wcs.pixel_to_world_values(7.0, 40.0)
    )


def test_the_same_input_gives_the_same_bytes(source, exported):
    assert dp1_layout(source[0].read_bytes(), "again") == exported


def test_other_files_are_refused(exported):
    with pytest.raises(CorruptFileError, match=r"no file of lsst\.images"):
        dp1_layout(exported, "dp1.fits")
    with pytest.raises(CorruptFileError):
        dp1_layout(b"not FITS", "text")


def test_fitsverify_finds_nothing(tmp_path, exported):
    if shutil.which("fitsverify") is None:
        pytest.skip("no program fitsverify")
    path = tmp_path / "dp1.fits"
    path.write_bytes(exported)
    done = subprocess.run(["fitsverify", "-q", str(path)], capture_output=True, text=True)
    assert "verification OK" in done.stdout, done.stdout
