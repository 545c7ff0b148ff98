"""Headers as an unkind observatory writes them: what is not understood is said or refused."""

import numpy as np
import pytest
from astropy.io import fits
from tests.unit.storage.read.plain.test_plain_fits import SHAPE, image, opened

from residua.errors import UnusableImageError


@pytest.mark.parametrize(
    ("card", "value", "comment", "said"),
    [
        ("DATE-OBS", 60311.1, "", "DATE-OBS is the number 60311.1"),
        ("JD", 60311.6, "", "JD is 60311.6"),
        ("EXPTIME", -1.0, "", "EXPTIME is -1"),
        ("EXPTIME", 1.0, "exposure (minutes)", "by its comment"),
        ("FILTER", 3, "", "FILTER names no filter"),
        ("FILTER", "moving", "", "FILTER names no filter"),
        ("MAGZERO", -99.0, "", "MAGZERO = -99 is no zero point"),
        ("MAGZERO", 99.0, "", "MAGZERO = 99 is no zero point"),
    ],
)
def test_what_is_not_understood_is_said(card, value, comment, said):
    hdu = image()
    for other in {"DATE-OBS", "MJD-OBS", "JD"} & set(hdu.header):
        del hdu.header[other]
    hdu.header[card] = (value, comment)
    assert any(said in note for note in opened(hdu).notes)


def test_a_zero_point_of_a_count_a_second_is_one_whatever_its_card():
    hdu = image(EXPTIME=100.0, BUNIT="adu")
    hdu.header["MAGZERO"] = (25.0, "zero point for 1 ADU/s")
    assert opened(hdu).calibration.zero_point == pytest.approx(30.0)


@pytest.mark.parametrize("kind", ["BIAS", "Flat Field", "dark", "MASTER_FLAT", "zero", "domeflat"])
def test_what_is_no_image_of_the_sky_is_refused(kind):
    with pytest.raises(UnusableImageError, match="not an image of the sky"):
        opened(image(IMAGETYP=kind))


def test_a_mask_where_one_is_good_is_asked_about():
    science = image(fits.ImageHDU, "SCI")
    science.data = np.random.default_rng(1).normal(7.0, 2.0, SHAPE).astype(np.float32)
    mask = image(fits.ImageHDU, "MASK")
    mask.data = np.ones(SHAPE, np.uint8)
    mask.data[:, :5] = 0
    notes = opened(fits.PrimaryHDU(), science, mask).decode().report.notes
    assert any("1 is good?" in note for note in notes)
