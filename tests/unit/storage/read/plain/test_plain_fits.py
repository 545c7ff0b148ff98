"""Plain FITS files: which image, which cards, which factor; truth by astropy."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from residua.errors import NoWcsError, UnknownUnitError, UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.storage.read.file_contents import ReadOptions
from residua.storage.read.plain.plain_fits import open_plain_fits

SHAPE = (60, 80)
INSTRUMENTS = InstrumentRegistry()


def tan(scale=0.3):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.1, 2.2]
    wcs.wcs.crpix = [40.0, 30.0]
    wcs.wcs.cd = np.array([[-1.0, 0.1], [0.1, 1.0]]) * scale / 3600.0
    return wcs


def image(kind=fits.PrimaryHDU, name=None, value=1.0, scale=0.3, **cards):
    hdu = kind(np.full(SHAPE, value, np.float32))
    hdu.header.update(tan(scale).to_header())
    if name:
        hdu.name = name
    for key, card in cards.items():
        hdu.header[key] = card
    return hdu


def opened(*hdus, **options):
    return open_plain_fits(
        fits.HDUList(list(hdus)), "x.fits", INSTRUMENTS, ReadOptions(**options), {}
    )


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("unit", ["MJy/sr", "Jy/arcsec2", "uJy/pixel", "mJy"])
def test_surface_brightness_is_that_of_astropys_units(scale, unit):
    found = opened(image(BUNIT=unit, scale=scale))
    area = np.abs(np.linalg.det(tan(scale).wcs.cd)) * u.deg**2
    quantity = u.Unit(unit)
    if unit.endswith("/pixel"):
        truth = (1.0 * quantity * u.pixel).to_value(u.nJy)
    elif unit == "mJy":
        truth = (1.0 * quantity).to_value(u.nJy)
    else:
        truth = (1.0 * quantity * area).to_value(u.nJy)
    assert found.calibration.unit == "nJy"
    assert found.calibration.factor == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("zero_point", [22.5, 25.0, 31.4])
def test_a_zero_point_is_an_ab_magnitude(zero_point):
    expected = (zero_point * u.ABmag).to_value(u.nJy)
    for found in (opened(image(MAGZERO=zero_point)), opened(image(), zero_point=zero_point)):
        assert found.calibration.factor == pytest.approx(expected, rel=2e-3)


def test_the_wcs_is_the_files():
    found = opened(image())
    x, y = np.meshgrid([0.0, 40.0, 79.0], [0.0, 59.0])
    assert np.allclose(
        found.wcs.pixel_to_world_values(x, y), tan().pixel_to_world_values(x, y), atol=1e-9
    )
    assert found.shape == SHAPE


def test_extensions_share_the_cards_of_the_primary_and_override_them():
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"] = 30.0
    primary.header["AIRMASS"] = 1.5
    found = opened(primary, image(fits.ImageHDU, "SCI", AIRMASS=1.1))
    assert (found.metadata.exposure_time, found.metadata.airmass) == (30.0, 1.1)


def test_the_named_image_is_taken_among_its_planes():
    science = image(fits.ImageHDU, "SCI")
    science.data = np.random.default_rng(1).normal(7.0, 2.0, SHAPE).astype(np.float32)
    hdus = [
        fits.PrimaryHDU(),
        image(fits.ImageHDU, "ERR", 2.0),
        science,
        image(fits.ImageHDU, "STRANGE", 9.0),
    ]
    found = opened(*hdus)
    contents = found.decode()
    assert np.ptp(contents.image - science.data) < 1e-5
    assert np.allclose(contents.variance, 4.0)
    assert any("STRANGE" in note for note in found.notes)


@pytest.mark.parametrize("extension", ["CCD2", "2"])
def test_of_several_images_one_is_asked_for(extension):
    hdus = [fits.PrimaryHDU(), *(image(fits.ImageHDU, f"CCD{n}", AIRMASS=n) for n in (1, 2, 3))]
    with pytest.raises(UnusableImageError, match=r"3 images on the sky.*--ext CCD1"):
        opened(*hdus)
    assert opened(*hdus, extension=extension).metadata.airmass == 2


def test_what_cannot_be_used_is_refused():
    with pytest.raises(NoWcsError):
        opened(fits.PrimaryHDU(np.zeros(SHAPE, np.float32)))
    with pytest.raises(UnknownUnitError):
        opened(image(BUNIT="furlong"))
    with pytest.raises(UnusableImageError, match="two-dimensional"):
        opened(fits.PrimaryHDU())
    with pytest.raises(UnusableImageError, match="colour mosaic"):
        opened(image(BAYERPAT="RGGB"))
