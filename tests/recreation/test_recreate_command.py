"""`residua recreate`, as a person types it."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from astropy.io import fits
from typer.testing import CliRunner

from residua.cli.main import app
from residua.storage.objects import local_path


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        return CliRunner().invoke(app, ["recreate", *map(str, arguments)])

    return invoke


def test_by_id_by_visit_and_by_address(run, image, catalog_url, night, tmp_path):
    original = local_path(image.uri).read_bytes()
    first = run(image.dataset_id, "--catalog", catalog_url, "-o", "again.fits")
    assert first.exit_code == 0, first.output
    assert "byte for byte" in first.output
    assert Path("again.fits").read_bytes() == original
    v = image.visit_detector
    second = run(v.instrument, v.visit, v.detector, "--catalog", catalog_url, "--json")
    answer = json.loads(second.stdout)
    assert answer["checksum"] == image.checksum
    assert answer["as_made"] is True
    assert Path(answer["file"]).name == local_path(image.uri).name
    assert Path(answer["file"]).read_bytes() == original
    third = run(local_path(image.uri), "-o", "third.fits")
    assert third.exit_code == 0, third.output
    assert Path("third.fits").read_bytes() == original
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["again.fits", "third.fits", local_path(image.uri).name]
    )


def test_a_cutout_of_an_image_that_is_gone(run, image, catalog_url, monkeypatch):
    # For a stamp no whole image is made.
    monkeypatch.delattr("residua.recreation.Recreator.as_made")
    ra, dec = image.region.center
    done = run(
        image.dataset_id, "--catalog", catalog_url, "--cutout", ra, dec, 10, "-o", "stamp.fits"
    )
    assert done.exit_code == 0, done.output
    with fits.open("stamp.fits") as stamp, fits.open(local_path(image.uri)) as whole:
        x, y = (int(stamp["IMAGE"].header[f"CRVAL{i}A"]) for i in (1, 2))
        ny, nx = stamp["IMAGE"].data.shape
        assert 40 < nx < 60
        expected = whole["IMAGE"].data[y : y + ny, x : x + nx]
        assert (stamp["IMAGE"].data == expected).all()
    off = run(image.dataset_id, "--catalog", catalog_url, "--cutout", ra + 20, dec, 10)
    assert off.exit_code == 1
    assert "does not lie on the image" in off.output


@pytest.mark.parametrize(
    ("cutout", "said"),
    [
        ((150.0, 2.0, -5.0), "SIZE is -5 arcsec"),
        ((150.0, 2.0, 0.0), "SIZE is 0 arcsec"),
        ((150.0, 2.0, "nan"), "SIZE is nan arcsec"),
        ((150.0, 95.0, 5.0), "95"),
        (("nan", 2.0, 5.0), "nan"),
    ],
)
def test_a_wrong_cutout_is_refused_before_anything_is_made(
    run, image, catalog_url, monkeypatch, cutout, said
):
    monkeypatch.delattr("residua.recreation.Recreator.as_made")
    done = run(image.dataset_id, "--catalog", catalog_url, "--best-now", "--cutout", *cutout)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert list(Path().glob("*.fits")) == []


def test_best_now_is_another_image_of_another_run(run, image, catalog_url, monkeypatch):
    monkeypatch.setenv("RESIDUA_SUBTRACTION", json.dumps({"background_order": 2}))
    done = run(image.dataset_id, "--catalog", catalog_url, "--best-now", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["as_made"] is False
    assert answer["dataset_id"] != str(image.dataset_id)
    assert answer["run"].endswith("/now")
    assert answer["run"] != image.run
    content = Path(answer["file"]).read_bytes()
    assert answer["checksum"] == "sha256:" + hashlib.sha256(content).hexdigest()
    assert answer["checksum"] != image.checksum
    with fits.open(answer["file"]) as hdus:
        assert hdus[0].header["DATASET"] == answer["dataset_id"]
        assert hdus[0].header["RUN"] == answer["run"]


def test_what_cannot_be_made_is_one_line_and_exit_code_one(run, image, catalog_url, keep_inputs):
    path = keep_inputs(image.visit_image.uri)
    path.unlink()
    lost = run(image.dataset_id, "--catalog", catalog_url)
    assert lost.exit_code == 1
    assert lost.output.startswith("residua: LostInputError: the visit image of")
    assert lost.output.count("\n") == 1
    unknown = run("11111111-1111-1111-1111-111111111111", "--catalog", catalog_url)
    assert unknown.exit_code == 1
    assert "UnknownImageError" in unknown.output
    assert run("no-such-thing", "--catalog", catalog_url).exit_code == 2
    assert run(image.dataset_id).exit_code == 2
    assert list(Path().iterdir()) == []


def test_a_directory_that_was_moved_needs_no_roots(run, night, image, catalog_url, tmp_path):
    there = tmp_path / "moved"
    shutil.copytree(night.root, there)
    shutil.copyfile(catalog_url.removeprefix("sqlite:///"), there / "catalog.sqlite")
    for file in (there / "images").rglob("*.fits"):
        if file.name != local_path(image.uri).name:
            file.unlink()
    hidden = Path(night.root).rename(Path(night.root).with_name("hidden"))
    try:
        done = run(image.dataset_id, "--catalog", there, "-o", "again.fits")
    finally:
        hidden.rename(night.root)
    assert done.exit_code == 0, done.output
    digest = hashlib.sha256(Path("again.fits").read_bytes()).hexdigest()
    assert image.checksum == f"sha256:{digest}"
