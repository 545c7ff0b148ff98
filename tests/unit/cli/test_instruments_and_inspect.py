"""`residua instruments` and `residua inspect`, and the way from one to the other."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from residua.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def mine(tmp_path):
    rng = np.random.default_rng(3)
    hdu = fits.PrimaryHDU(rng.poisson(4000.0, (80, 90)).astype("f4") / 2.0)
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    wcs |= {"CRPIX1": 45.0, "CRPIX2": 40.0, "CD1_1": -1.4e-4, "CD2_2": 1.4e-4}
    cards = {"INSTRUME": "QHY 600", "TELESCOP": "Backyard 0.4m", "FILTER": "Baader R", "GAIN": 2.0}
    cards |= {"DATE-OBS": "2026-01-05T03:00:00", "EXPTIME": 60.0, "EXPNUM": 3, "CCDNUM": 1}
    hdu.header.update({**wcs, **cards, "SITELAT": 50.1, "SITELONG": 8.6, "SITEALT": 120.0})
    path = tmp_path / "mine.fits"
    hdu.writeto(path)
    return path


def test_inspect_tells_what_is_understood_and_what_is_not(mine):
    shown = run("inspect", mine)
    assert shown.exit_code == 0, shown.output
    for words in ("QHY-600", "Backyard 0.4m", "Baader R", "GAIN = 2", "arcsec", "note:"):
        assert words in shown.output, words
    found = json.loads(run("inspect", mine, "--json").output)
    rows = {row["what"]: row for row in found["rows"]}
    assert rows["band"]["value"] == "R, filter Baader R"
    assert rows["time"]["source"] == "DATE-OBS"
    assert "predicted" in rows["noise"]["value"]
    assert any("EXPNUM=3 not taken" in note for note in found["notes"])
    assert found["refused"] is None


def test_inspect_tells_about_files_that_are_refused(mine, tmp_path):
    with fits.open(mine) as hdus:
        del hdus[0].header["CRVAL1"]
        hdus.writeto(tmp_path / "lost.fits")
    shown = run("inspect", mine, tmp_path / "lost.fits")
    assert shown.exit_code == 1
    assert "REFUSED" in shown.output
    assert "without CRVAL1" in shown.output
    assert shown.output.count("QHY-600") == 2


def test_a_draft_becomes_an_instrument(mine, tmp_path):
    own = tmp_path / "own"
    drafted = run("instruments", "new", mine, "-o", own / "qhy.yaml")
    assert drafted.exit_code == 0, drafted.output
    assert len((own / "qhy.yaml").read_text().splitlines()) <= 90
    checked = run("instruments", "check", own / "qhy.yaml")
    assert checked.exit_code == 0, checked.output
    assert "describes QHY-600" in checked.output
    assert "QHY-600" in run("instruments", "list", "--instruments", own).output
    shown = json.loads(run("instruments", "show", "QHY-600", "--instruments", own).output)
    assert shown["latitude"] == 50.1
    # Now the exposure number counts.
    found = json.loads(run("inspect", mine, "--json", "--instruments", own).output)
    rows = {row["what"]: row for row in found["rows"]}
    assert (rows["visit"]["value"], rows["visit"]["source"]) == ("3", "EXPNUM")


def test_a_broken_description_is_told_by_its_field(tmp_path):
    path = tmp_path / "x.yaml"
    for text, words in (
        ("name: X\nfacility_name: Y\nbands: {r: [550, 690]}", "bands: .*in m"),
        ("name: X\nfacility_name: Y\ngian_from: [GAIN]", "gian_from"),
        ("name: a b\nfacility_name: Y", "name: "),
        ("name: X", "facility_name"),
        ("name: X\nfacility_name: Y\ndetectors: {1: A, 2: a}", "more than once"),
        ("name: [", "no YAML"),
    ):
        path.write_text(text)
        result = run("instruments", "check", path)
        assert result.exit_code == 1
        assert re.search(words, " ".join(result.output.split())), result.output


def test_missing_directories_and_names_are_said(tmp_path):
    assert "no directory" in run("instruments", "list", "--instruments", tmp_path / "no").output
    assert run("instruments", "show", "Nobodys").exit_code == 1
    assert json.loads(run("instruments", "schema").output)["title"] == "InstrumentFile"
