"""A template through another filter is refused on every path, and the refusal says both names."""

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from residua.cli.main import app
from residua.demo.inputs import user_inputs
from residua.errors import FilterMismatchError
from residua.processing import refuse_other_filters


def _image(path, **cards):
    hdu = fits.PrimaryHDU(np.random.default_rng(1).normal(400.0, 20.0, (60, 60)).astype("f4"))
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    wcs |= {"CRPIX1": 30.0, "CRPIX2": 30.0, "CD1_1": -1.4e-4, "CD2_2": 1.4e-4}
    hdu.header.update({**wcs, "INSTRUME": "MyCam", "DATE-OBS": "2026-01-05T03:00:00", **cards})
    hdu.writeto(path)
    return str(path)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "t").mkdir()

    def make(visit, template):
        return (
            _image(tmp_path / "v" / "visit.fits", FILTER=visit),
            _image(tmp_path / "t" / "template.fits", FILTER=template),
        )

    return make


@pytest.mark.parametrize(
    ("visit", "template"), [("SDSS r", "SDSS g"), ("SDSS r", "PS1 r"), ("V", "B"), ("W1", "r")]
)
def test_subtract_refuses(files, tmp_path, visit, template):
    science, coadd = files(visit, template)
    result = CliRunner().invoke(app, ["subtract", science, coadd, "-o", str(tmp_path / "d.fits")])
    assert result.exit_code == 1
    assert f"'{visit}'" in result.output
    assert f"'{template}'" in result.output
    assert "--band" in result.output
    assert not (tmp_path / "d.fits").exists()


def test_the_demo_keeps_them_apart_unless_told(files, tmp_path):
    files("SDSS r", "PS1 r")
    places = [str(tmp_path / "v")], [str(tmp_path / "t")]
    inputs = user_inputs(*places, template_set="x", band=None)
    with pytest.raises(FilterMismatchError, match=r"'SDSS r' \(band r\)"):
        refuse_other_filters(inputs.arrivals[0], inputs.templates)
    told = user_inputs(*places, template_set="x", band="r")
    refuse_other_filters(told.arrivals[0], told.templates)
